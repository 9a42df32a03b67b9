"""Drives every file-store command of the stock `tahoe` against a gateway, comparing bytes and exit codes.

usage: tahoe_client.py TAHOE NODEDIR FOLDER [few]

With `few` it expects a grid of which too few servers are left. PARTS in the environment names parts to do alone, on what others left.
"""

import json
import os
import random
import subprocess
import sys
import urllib.request

TAHOE, NODE, FOLDER = sys.argv[1:4]


def run(*args, code=0, stdin=None, out=None, err=None):
    """Runs one command; its standard output, as bytes."""
    done = subprocess.run([TAHOE, "-d", NODE, *args], input=stdin if stdin is not None else b"", capture_output=True, timeout=240)
    said = f"tahoe {' '.join(args)}\n{done.stdout.decode(errors='replace')}\n{done.stderr.decode(errors='replace')}"
    assert done.returncode == code, f"exit code {done.returncode}, not {code}: {said}"
    assert b"Traceback" not in done.stderr, said
    for text in [out] if isinstance(out, str) else out or []:
        assert text in done.stdout.decode(), f"no {text!r} on stdout of {said}"
    for text in [err] if isinstance(err, str) else err or []:
        assert text in done.stderr.decode(), f"no {text!r} on stderr of {said}"
    return done.stdout


def line(*args, **how):
    text = run(*args, **how).decode()
    assert text.endswith("\n") and text.count("\n") == 1, f"not one line: {text!r}"
    return text.strip()


def noise(seed, length):
    return random.Random(seed).randbytes(length)


def path(name):
    return os.path.join(FOLDER, name)


def write(name, data):
    os.makedirs(os.path.dirname(path(name)), exist_ok=True)
    with open(path(name), "wb") as file:
        file.write(data)
    return path(name)


def read(name):
    with open(path(name), "rb") as file:
        return file.read()


def tree(name):
    """All files below a folder, with their bytes."""
    found = {}
    for folder, folders, files in os.walk(path(name)):
        for file in files:
            full = os.path.join(folder, file)
            with open(full, "rb") as opened:
                found[os.path.relpath(full, path(name))] = opened.read()
        for empty in folders:
            found.setdefault(os.path.relpath(os.path.join(folder, empty), path(name)), None)
    return found


def names(where):
    return run("ls", where).decode().splitlines()


SMALL, MIDDLE, LARGE = noise(1, 40), noise(2, 300_000), noise(3, 9_000_000)


def aliases():
    run("create-alias", "home", out="Alias 'home' created")
    run("create-alias", "home", code=1)
    run("create-alias", "tahoe")
    root = line("mkdir")
    assert root.startswith("URI:DIR2:"), root
    run("add-alias", "other", root, out="Alias 'other' added")
    listed = json.loads(run("list-aliases", "--json"))
    assert listed["other"]["readwrite"] == root, listed
    readonly = listed["other"]["readonly"]
    assert readonly.startswith("URI:DIR2-RO:"), readonly
    lines = dict(line.split(":", 1) for line in run("list-aliases", "--readonly-uri").decode().splitlines() if ":" in line)
    shown = {name.strip(): cap.strip() for name, cap in lines.items()}
    assert shown["other"] == readonly, shown
    # What Tahoe derives offline reads the same directory.
    run("put", write("ro", SMALL), "other:ro")
    run("add-alias", "ro", readonly)
    assert run("get", "ro:ro") == SMALL
    run("put", write("ro", SMALL), "ro:no", code=1, err="403")


def directories():
    cap = line("mkdir", "home:a/b/c")
    assert line("mkdir", "home:a/b/c") == cap, "an existing directory is returned"
    assert names("home:") == ["a"] and names("home:a/b") == ["c"]
    sdmf, mdmf = line("mkdir", "--format=SDMF"), line("mkdir", "--format=MDMF")
    assert sdmf != mdmf
    run("ls", "home:nothing", code=2, err="No such file or directory")
    run("mkdir", "home:ü/日本")
    assert run("ls", "home:ü").decode() == "日本\n"


def files():
    for name, data in [("small", SMALL), ("middle", MIDDLE), ("large", LARGE), ("empty", b"")]:
        cap = line("put", write(name, data), err="200 OK")
        assert cap.startswith("URI:LIT:" if len(data) <= 55 else "URI:CHK:"), cap
        assert run("get", cap) == data
        run("put", path(name), f"home:files/{name}", err="201 Created")
        run("put", path(name), f"home:files/{name}", err="200 OK")
        assert run("get", f"home:files/{name}") == data
        run("get", f"home:files/{name}", path("got"), err="retrieved and written to")
        assert read("got") == data
    assert line("put", path("middle")) == line("put", path("middle")), "the same bytes are stored once"
    assert run("get", line("put", "-", stdin=MIDDLE)) == MIDDLE
    run("put", "-", "home:stdin", stdin=SMALL + b"!")
    assert run("get", "home:stdin") == SMALL + b"!"
    run("get", "home:none", code=1, err="404")
    mutable = line("put", "--mutable", path("middle"))
    assert mutable.startswith("URI:SSK:"), mutable
    assert run("get", mutable) == MIDDLE
    assert line("put", path("small"), mutable) == mutable
    assert run("get", mutable) == SMALL
    for form in ["SDMF", "MDMF"]:
        cap = line("put", f"--format={form}", path("small"), f"home:mutable-{form}")
        assert line("put", path("large"), f"home:mutable-{form}") == cap, "it changes in place"
        assert run("get", cap) == LARGE
    run("put", path("small"), "home:/slash", code=1)
    run("ls", "-l", "home:files", out="300000")
    run("ls", "--uri", "home:files", out="URI:CHK:")
    run("ls", "--readonly-uri", "home:", out=["URI:SSK-RO:", "URI:DIR2-RO:"])
    assert "files/" in run("ls", "-F", "home:").decode()
    parsed = json.loads(run("ls", "--json", "home:files/middle"))
    assert parsed[0] == "filenode" and parsed[1]["size"] == len(MIDDLE), parsed
    assert json.loads(run("ls", "--json", "home:"))[0] == "dirnode"


def copies():
    made = {"one": SMALL, "two": MIDDLE, "sub/three": LARGE, "sub/deep/four": b"", "ü/日本": b"name"}
    for name, data in made.items():
        write(f"tree/{name}", data)
    os.makedirs(path("tree/nothing"))
    expected = tree("tree")
    run("cp", path("small"), "home:copied", out="Success: file copied")
    assert run("get", "home:copied") == SMALL
    run("cp", "home:copied", path("back"), out="Success: file copied")
    assert read("back") == SMALL
    run("cp", "home:copied", "home:a/again")
    assert run("get", "home:a/again") == SMALL
    run("cp", path("tree"), "home:x", code=1)
    run("cp", "-r", path("tree"), "home:up", out="Success: files copied")
    os.makedirs(path("down"))
    run("cp", "-r", "home:up", path("down"), out="Success: files copied")
    assert expected in [tree("down"), tree("down/up"), tree("down/tree"), tree("down/up/tree")], sorted(tree("down"))
    run("cp", "-r", "home:up", "home:beside")
    os.makedirs(path("down2"))
    run("cp", "-r", "home:beside", path("down2"))
    found = tree("down2")
    assert sorted(data for data in found.values() if data is not None) == sorted(made.values()), sorted(found)
    run("cp", "-r", "--caps-only", "home:up", path("caps"))
    assert all(data is None or data.startswith(b"URI:") for data in tree("caps").values())


def moves():
    run("mv", "home:copied", "home:moved", out="OK")
    assert run("get", "home:moved") == SMALL
    run("get", "home:copied", code=1, err="404")
    run("mv", "home:moved", "home:a/", out="OK")
    assert run("get", "home:a/moved") == SMALL
    run("mv", "home:a/moved", "home:files", code=1, err="can't overwrite a directory")
    run("ln", "home:a/moved", "home:linked", out="OK")
    assert run("get", "home:linked") == SMALL == run("get", "home:a/moved")
    run("unlink", "home:linked")
    run("unlink", "home:linked", code=1, err="404")
    assert "linked" not in names("home:")


def backups():
    def backup(*args, code=0):
        return run("backup", *args, path("source"), "home:backup", code=code).decode()

    write("source/a", MIDDLE), write("source/b/c", LARGE), write("source/b/small", SMALL)
    first = backup("-v")
    assert "3 files uploaded (0 reused)" in first and "2 directories created (0 reused)" in first, first
    again = backup()
    assert "0 files uploaded (3 reused)" in again and "0 directories created (2 reused)" in again, again
    write("source/a", MIDDLE + b"more")
    changed = backup()
    assert "1 files uploaded (2 reused)" in changed and "1 directories created (1 reused)" in changed, changed
    assert run("get", "home:backup/Latest/a") == MIDDLE + b"more"
    assert run("get", "home:backup/Latest/b/c") == LARGE
    archives = names("home:backup/Archives")
    assert len(archives) >= 1
    assert run("get", f"home:backup/Archives/{sorted(archives)[0]}/a") in (MIDDLE, MIDDLE + b"more")
    latest = json.loads(run("ls", "--json", "home:backup/Latest"))
    assert latest[1]["mutable"] is False and latest[1]["ro_uri"].startswith("URI:DIR2-CHK:"), latest
    told = latest[1]["children"]["a"][1]["metadata"]
    assert abs(told["mtime"] - os.stat(path("source/a")).st_mtime) < 1 and "st_ino" in told, told
    os.symlink("nowhere", path("source/link"))
    backup(code=2)


def upkeep():
    listed = run("manifest", "home:").decode().splitlines()
    assert any(entry.endswith(" files/large") for entry in listed), listed
    assert len(run("manifest", "-s", "home:").decode().splitlines()) > 3
    run("manifest", "--verify-cap", "home:", out="-Verifier:")
    run("manifest", "--repair-cap", "home:", out="-Verifier:")
    raw = [json.loads(entry) for entry in run("manifest", "--raw", "home:").decode().splitlines()]
    assert raw[-1]["type"] == "stats" and raw[-1]["stats"]["count-mutable-files"] == 2, raw[-1]
    run("stats", "home:", out=["count-files:", "count-directories:", "Size Histogram:"])
    stats = json.loads(run("stats", "--raw", "home:"))
    assert stats["largest-immutable-file"] == len(LARGE) and stats["finished"] is True, stats
    for where in ["home:", "home:files/large", "home:files/small", "home:mutable-MDMF", "home:backup/Latest"]:
        run("check", where, out="ealthy")
        run("check", "--verify", "--repair", "--add-lease", where, out="Summary: healthy")
    assert json.loads(run("check", "--raw", "home:files/middle"))["results"]["healthy"] is True
    count = len(raw) - 1
    run("deep-check", "home:", out=f"done: {count} objects checked, {count} healthy, 0 unhealthy")
    run("deep-check", "-v", "--verify", "home:files", out="'large': Healthy")
    run("deep-check", "--repair", "--add-lease", "home:", out=[f"done: {count} objects checked", f"pre-repair: {count} healthy, 0 unhealthy", f"post-repair: {count} healthy, 0 unhealthy"])
    run("status")
    run("status", "-v")


def webopen():
    seen = path("browser")
    fake = write("fake-browser", f"#!/bin/sh\necho \"$1\" > {seen}\n".encode())
    os.chmod(fake, 0o700)
    os.environ["BROWSER"] = fake + " %s"
    for args, part in [([], ""), (["home:files/small"], "/uri/"), (["-i", "home:"], "t=info")]:
        run("webopen", *args)
        with open(seen) as file:
            url = file.read().strip()
        assert part in url, url
        if part:
            with urllib.request.urlopen(url) as page:
                body = page.read()
            assert body == SMALL if part == "/uri/" else b"URI:DIR2-RO:" in body


def few():
    run("get", "home:files/large", code=1, err="503")
    run("put", path("middle"), "home:late", code=1, err="503")
    # Two members still hold the directory; what they show is the newest to be seen.
    run("ls", "home:", out="files")
    run("mkdir", code=1, err="503")


if sys.argv[4:] == ["few"]:
    few()
else:
    for part in [aliases, directories, files, copies, moves, backups, upkeep, webopen]:
        if part.__name__ not in os.environ.get("PARTS", part.__name__).split():
            continue
        part()
        print(f"{part.__name__}: as it should be", flush=True)
