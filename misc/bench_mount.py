#!/usr/bin/env python3
"""The rows of the mount in docs/performance.md, on a grid of bench_grid.py and beside gocryptfs over a plain folder.

    bench_mount.py GRID [--bin target/release] [--rounds 3] [--rows write,many,tree,git,sqlite] [--of sarsen,gocryptfs]

GRID is a folder that `bench_grid.py start` was given. Work is done by dd, ls, tar, rm, git and Python's sqlite3. What is counted until it is
durable is counted until the unmounting has returned; gocryptfs' folder lies beside GRID, and its syncs are those of that disk. Each row is one
JSON line with the median of the rounds.
"""
import argparse, contextlib, json, os, pathlib, shutil, sqlite3, statistics, subprocess, tempfile, time

MIB = 1 << 20

def run(*command, **kw):
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, **kw)

class Sarsen:
    name = "sarsen"

    def __init__(self, a):
        self.program, self.client = f"{a.bin}/sarsen", f"{a.grid}/client"
        self.at = pathlib.Path(f"{a.grid}/mount")
        self.at.mkdir(exist_ok=True)
        if "mount:" not in self.said("alias", "list"):
            self.said("alias", "create", "mount")

    def said(self, *args):
        return subprocess.run([self.program, "--dir", self.client, *args], check=True, stdin=subprocess.DEVNULL, capture_output=True, text=True).stdout

    def up(self):
        self.said("mount", "mount:", str(self.at), "--daemon")

    def down(self):
        self.said("umount", str(self.at))

class Gocryptfs:
    name = "gocryptfs"

    def __init__(self, a):
        base = pathlib.Path(f"{a.grid}/gocryptfs")
        self.under, self.at = base / "sealed", base / "mount"
        if not base.exists():
            self.under.mkdir(parents=True)
            self.at.mkdir()
            run("gocryptfs", "-q", "-init", "-extpass", "echo", "-extpass", "secret", str(self.under))

    def up(self):
        run("gocryptfs", "-q", "-extpass", "echo", "-extpass", "secret", str(self.under), str(self.at))

    def down(self):
        run("fusermount3", "-u", str(self.at))
        run("sync", "-f", str(self.under))

@contextlib.contextmanager
def mounted(volume):
    volume.up()
    try:
        yield volume.at
    finally:
        volume.down()

class Clock:
    def __init__(self):
        self.began = time.perf_counter()

    def seconds(self):
        return time.perf_counter() - self.began

class Rows:
    def __init__(self, volume):
        self.volume, self.values = volume, {}

    def note(self, row, value, unit):
        self.values.setdefault((row, unit), []).append(value)

    def print(self):
        for (row, unit), values in self.values.items():
            print(json.dumps({"of": self.volume.name, "row": row, "median": round(statistics.median(values), 3), "unit": unit, "rounds": [round(v, 3) for v in values]}), flush=True)

def write(rows, scratch):
    """1 GiB from front to back, read cold and again, and one byte of it."""
    noise = scratch / "noise"
    if not noise.exists():
        with open(noise, "wb") as out:
            for _ in range(1024):
                out.write(os.urandom(MIB))
    size = noise.stat().st_size
    with mounted(rows.volume) as at:
        clock = Clock()
        run("dd", f"if={noise}", f"of={at}/big", "bs=1M", "conv=fsync", stderr=subprocess.DEVNULL)
        rows.note("write 1 GiB with fsync", size / 1e6 / clock.seconds(), "MB/s")
    with mounted(rows.volume) as at:
        for row in ("read it, cold", "read it again"):
            clock = Clock()
            run("dd", f"if={at}/big", "of=/dev/null", "bs=1M", stderr=subprocess.DEVNULL)
            rows.note(row, size / 1e6 / clock.seconds(), "MB/s")
        with open(at / "big", "r+b", buffering=0) as file:
            clock = Clock()
            file.seek(size // 2)
            file.write(b"x")
            os.fsync(file.fileno())
            rows.note("one byte in the middle, with fsync", clock.seconds() * 1000, "ms")
        os.remove(at / "big")

def many(rows, scratch):
    """`ls -l` of 10,000 entries."""
    with mounted(rows.volume) as at:
        folder = at / "many"
        if not folder.exists():
            folder.mkdir()
            for count in range(10_000):
                (folder / f"entry {count}").write_bytes(b"%d" % count)
    with mounted(rows.volume) as at:
        for row in ("ls -l of 10,000, cold", "ls -l of 10,000, again"):
            clock = Clock()
            run("ls", "-l", str(at / "many"))
            rows.note(row, clock.seconds(), "s")

def tree(rows, scratch):
    """20,000 small files: untar, and rm -r."""
    tar = scratch / "tree.tar"
    if not tar.exists():
        run("python3", str(pathlib.Path(__file__).parent / "make_tree.py"), str(scratch / "tree"), "--files", "20000", "--seed", "1")
        run("tar", "-cf", str(tar), "-C", str(scratch / "tree"), ".")
    with mounted(rows.volume) as at:
        (at / "tree").mkdir()
    clock = Clock()
    with mounted(rows.volume) as at:
        # Hard links are refused, and left out.
        subprocess.run(["tar", "-xf", str(tar), "-C", str(at / "tree")], stderr=subprocess.DEVNULL, check=False)
    rows.note("untar 20,000 files, until durable", 20_000 / clock.seconds(), "files/s")
    with mounted(rows.volume) as at:
        there = sum(len(files) for _, _, files in os.walk(at / "tree"))
        assert there > 19_000, there
    clock = Clock()
    with mounted(rows.volume) as at:
        run("rm", "-r", str(at / "tree"))
    rows.note("rm -r of them, until durable", 20_000 / clock.seconds(), "files/s")

def git(rows, scratch):
    """A clone of this project, and its status."""
    here = str(pathlib.Path(__file__).parent.parent)
    with mounted(rows.volume) as at:
        clock = Clock()
        run("git", "clone", "-q", "--no-hardlinks", here, str(at / "clone"))
        rows.note("git clone", clock.seconds(), "s")
        clock = Clock()
        run("git", "-C", str(at / "clone"), "status")
        rows.note("git status", clock.seconds(), "s")
        shutil.rmtree(at / "clone")

def sqlite(rows, scratch):
    """1,000 transactions of a row."""
    with mounted(rows.volume) as at:
        base = sqlite3.connect(at / "base", isolation_level=None)
        base.execute("create table t (n integer primary key, text)")
        clock = Clock()
        for n in range(1000):
            base.execute("insert into t values (?, ?)", (n, "x" * 100))
        rows.note("SQLite, a row a transaction", 1000 / clock.seconds(), "commits/s")
        assert base.execute("pragma integrity_check").fetchone() == ("ok",)
        base.close()
        os.remove(at / "base")

def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("grid")
    parser.add_argument("--bin", default="target/release")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", default="write,many,tree,git,sqlite")
    parser.add_argument("--of", default="sarsen,gocryptfs")
    a = parser.parse_args()
    a.grid = os.path.abspath(a.grid)
    kinds = {"sarsen": Sarsen, "gocryptfs": Gocryptfs}
    with tempfile.TemporaryDirectory(dir=os.path.dirname(a.grid)) as scratch:
        for volume in [kinds[name](a) for name in a.of.split(",")]:
            rows = Rows(volume)
            for _ in range(a.rounds):
                for row in a.rows.split(","):
                    {"write": write, "many": many, "tree": tree, "git": git, "sqlite": sqlite}[row](rows, pathlib.Path(scratch))
            rows.print()

main()
