#!/usr/bin/env python3
"""Writes testkit/vectors/tahoe-caps.json: cap strings, with what Tahoe-LAFS itself makes of each.

    python3 -m venv /dev/shm/tahoe/venv && /dev/shm/tahoe/venv/bin/pip install tahoe-lafs==1.20.0
    /dev/shm/tahoe/venv/bin/python misc/tahoe_cap_vectors.py

The output is the same on every run: keys and hashes are SHA-256 of a counter. Three lists:

    valid          canonical caps, MDMF caps with extension fields, and `ro.`/`imm.` prefixed ones ("prefix"); where Tahoe would write
                   the cap otherwise than it was given, "canonical" is what it writes. Every field is Tahoe's own answer, as is "mutable"
                   (false for every verify cap) and "read" (a verify cap answers itself); "note" marks the one exception.
    invalid        strings Tahoe answers with UnknownURI, or raises on
    tahoe_lenient  strings one would expect Tahoe to refuse, and what it understood instead ("kind", "became")
"""
import hashlib, itertools, json, pathlib
from importlib.metadata import version

from allmydata import uri
from allmydata.interfaces import IDirnodeURI
from allmydata.util import base32

OUT = pathlib.Path(__file__).resolve().parent.parent / "testkit/vectors/tahoe-caps.json"
ALPHABET = base32.chars.decode()
counter = itertools.count()

def secret(length):
    out = b""
    while len(out) < length:
        out += hashlib.sha256(b"%d" % next(counter)).digest()
    return out[:length]

def text(cap):
    return cap.to_string().decode()

def kind(cap):
    return cap.BASE_STRING.decode()[len("URI:"):-1]

def parse(string):
    """The cap Tahoe reads from string, and None; or None, and why there is none."""
    try:
        cap = uri.from_string(string)
    except Exception as e:
        return None, f"raises {type(e).__name__}"
    if isinstance(cap, uri.UnknownURI):
        error = cap.get_error()
        return None, "UnknownURI" + (f" ({type(error).__name__})" if error else "")
    return cap, None

def describe(string):
    cap, refusal = parse(string)
    assert cap is not None, (string, refusal)
    node = cap.get_filenode_cap() if IDirnodeURI.providedBy(cap) else cap
    si, verify = cap.get_storage_index(), cap.get_verify_cap()
    entry = {
        "cap": string,
        "kind": kind(cap),
        "authority": "verify" if kind(cap).endswith("Verifier") else "read" if cap.is_readonly() else "write",
        "read": text(cap.get_readonly()),
        "verify": None,
        "storage_index": si and base32.b2a(si).decode(),
        "directory": IDirnodeURI.providedBy(cap),
        "mutable": cap.is_mutable(),
        "size": node.get_size() if hasattr(node, "get_size") else getattr(node, "size", None),
    }
    if verify is not None:
        try:
            entry["verify"] = text(verify)
        except AssertionError:  # these two wrap themselves in a DirectoryURIVerifier, which holds only SSK
            assert kind(cap) in ("DIR2-CHK-Verifier", "DIR2-MDMF-Verifier")
            entry["verify"] = text(cap)
            entry["note"] = "Tahoe's get_verify_cap().to_string() fails an assertion here; verify is the cap itself"
    if text(cap) != string:
        entry["canonical"] = text(cap)
    return entry

# (k, N, size)
CHK = [(3, 10, 7), (1, 1, 0), (1, 1, 1), (3, 10, 2**40), (1, 256, 56), (256, 256, 2**32), (2, 3, 131072), (7, 12, 2**63 - 1)]
LIT = [1, 0, 2, 3, 4, 5, 6, 7, 54, 55]
EXTENSIONS = [":3:131073", ":ext", ":", "::", ":131073:ext:UPPER-case_9"]

def samples():
    """Caps of every kind, as objects."""
    def pair(i):
        return {6: (bytes(16), bytes(32)), 7: (b"\xff" * 16, b"\xff" * 32)}.get(i) or (secret(16), secret(32))
    for i, (k, n, size) in enumerate(CHK):
        cap = uri.CHKFileURI(*pair(i), k, n, size)
        directory = uri.wrap_dirnode_cap(cap)
        yield from (cap, cap.get_verify_cap(), directory, directory.get_verify_cap())
    for length in LIT:
        cap = uri.LiteralFileURI(secret(length))
        yield from (cap, uri.wrap_dirnode_cap(cap))
    for writeable in (uri.WriteableSSKFileURI, uri.WriteableMDMFFileURI):
        for i in range(8):
            cap = writeable(*pair(i))
            for c in (cap, uri.wrap_dirnode_cap(cap)):
                yield from (c, c.get_readonly(), c.get_verify_cap())

def spoil(cap):
    """(string, why) for many ways to spoil a cap that is its kind's first."""
    head, name, *fields = cap.split(":")
    def put(i, field):
        return ":".join([head, name] + fields[:i] + [field] + fields[i + 1:])
    yield cap[:-1], "last character cut off"
    yield cap.rsplit(":", 1)[0], "last field missing"
    yield cap.rsplit(":", 1)[0] + ":!", "last field is punctuation"
    yield f"{head}:{name}", "no fields, no colon"
    if fields != [""] and "LIT" not in name:
        yield f"{head}:{name}:", "no fields"
    for junk in ("x!", " ", "\n", "\r\n", "\0", "=", "======", "/", "?t=json", "\u00e9"):
        yield cap + junk, f"trailing {ascii(junk)}"
    if "MDMF" in name:
        yield cap + "x", "junk after the fingerprint, without a colon"
        for junk in (" ", "\n", "x\ny", "\0", "\u00e9", "/path"):
            yield f"{cap}:{junk}", f"extension field {ascii(junk)}"
    else:
        for junk in (":", ":1", ":ext", "::"):
            yield cap + junk, f"trailing {junk!r}"
    for lead in (" ", "\n", "x", "\ufeff", "URI:", "/uri/"):
        yield lead + cap, f"leading {ascii(lead)}"
    yield cap.upper(), "all upper case" + (" (the name too)" if name.upper() != name else "")
    yield cap.lower(), "all lower case"
    for scheme in ("uri:", "Uri:", "URJ:", "lafs:", "URI;", "URI::", "URI%3A"):
        yield scheme + cap[len("URI:"):], f"scheme {scheme!r}"
    yield cap.replace(":", "%3A"), "percent-encoded"
    for i, field in enumerate(fields[:2]):
        what = "data" if "LIT" in name else ("key", "hash")[i]
        yield put(i, field.upper()), f"{what} in upper case"
        yield put(i, field[:-1] + ALPHABET[ALPHABET.index(field[-1]) + 1]), f"{what} has trailing bits set (not canonical base32)"
        yield put(i, field[:-1]), f"{what} a character short"
        yield put(i, field + "a"), f"{what} a character long"
        yield put(i, field + "="), f"{what} padded with one ="
        yield put(i, field + "=" * (-len(field) % 8)), f"{what} padded to a multiple of eight"
        for bad in ("0", "1", "8", "9", "-", " ", "\n", "%", "\u00e9"):
            yield put(i, bad + field[1:]), f"{what} holds {ascii(bad)}"
        if "LIT" not in name:
            yield put(i, ""), f"{what} empty"
            yield put(i, "aa" + field), f"{what} two characters long"
            yield ":".join([head, name] + fields[:i] + fields[i + 1:]), f"{what} missing"
    if "LIT" not in name:
        yield ":".join([head, name, fields[1], fields[0]] + fields[2:]), "key and hash swapped"
    for i, what in enumerate(("k", "N", "size"), 2) if len(fields) == 5 else ():
        yield ":".join([head, name] + fields[:i] + fields[i + 1:]), f"{what} missing"
        for number in ("", "-1", "-0", "+3", " 3", "3 ", "3\n", "0x3", "3.0", "3e1", "1_0", "1,0", "three", "\u0663"):
            yield put(i, number), f"{what} is {ascii(number)}"
        yield put(i, "0" + fields[i]), f"{what} with a leading zero"
        yield put(i, "00"), f"{what} is 00"
        if name == "CHK":
            yield put(i, "1" + "0" * 5000), f"{what} of 5001 digits (Python's int() refuses more than 4300 since 3.11)"
    if len(fields) == 5:
        for k, n, size, why in ((0, 10, 7, "k = 0"), (0, 0, 7, "k = N = 0"), (3, 0, 7, "N = 0"), (11, 10, 7, "k > N"), (3, 257, 7, "N > 256"),
                                (257, 257, 7, "k > 256"), (2**32, 2**32, 7, "k = N = 2**32"), (3, 10, 2**63, "size 2**63"),
                                (3, 10, 2**64 - 1, "size 2**64 - 1"), (3, 10, 2**64, "size 2**64"), (3, 10, 10**30, "size 10**30")):
            yield ":".join([head, name, *fields[:2], str(k), str(n), str(size)]), why

def odd(first):
    """(string, why) for strings that belong to no kind."""
    for string in ("", " ", ":", "URI", "URI:", "URI::", "ro.", "imm.", "ro.URI:", "imm.URI:", "URI:CHK", "URI:FUTURE:abc", "lafs://from_the_future",
                   "http://example.com/", "pb://abc@127.0.0.1:1/def", "x-tahoe-future-test-writeable:abc", "x-tahoe-future-test-mutable:abc"):
        yield string, "no cap at all"
    body = lambda name: first[name].split(":", 2)[2]
    for name, of in (("DIR", "SSK"), ("DIR2-SSK", "SSK"), ("DIR3", "SSK"), ("DIR2-LIT-Verifier", "LIT"), ("LIT-Verifier", "LIT"), ("LIT-RO", "LIT"), ("CHK-RO", "CHK"),
                     ("DIR2-CHK-RO", "CHK"), ("SSK-verifier", "SSK-Verifier"), ("SSK-Ro", "SSK-RO"), ("CHK-VERIFIER", "CHK-Verifier"), ("SDMF", "SSK"),
                     ("DIR2-Verifier-MDMF", "MDMF-Verifier"), ("DIR2-RO-MDMF", "MDMF-RO"), ("CHK ", "CHK"), (" CHK", "CHK"), ("chk", "CHK")):
        yield f"URI:{name}:{body(of)}", "no such kind"
    for name, of in (("CHK", "SSK"), ("CHK", "LIT"), ("CHK-Verifier", "SSK"), ("LIT", "CHK"), ("LIT", "SSK"), ("SSK", "CHK"), ("SSK-RO", "CHK"), ("SSK-Verifier", "CHK"), ("SSK", "LIT"),
                     ("DIR2", "CHK"), ("DIR2", "LIT"), ("DIR2-CHK", "SSK"), ("DIR2-LIT", "CHK"), ("MDMF", "CHK"), ("DIR2-MDMF", "LIT")):
        yield f"URI:{name}:{body(of)}", f"the fields of {of} under the name {name}"
    for name in ("SSK", "CHK", "LIT"):
        yield "URI:DIR2:" + first[name], "a whole cap after URI:DIR2:"
    for prefix in ("ro.ro.", "imm.imm.", "ro.imm.", "imm.ro.", "RO.", "Imm.", "ro:", "ro", "ro. ", " ro.", "rw.", "verify."):
        for name in ("CHK", "SSK-RO"):
            yield prefix + first[name], f"prefix {prefix!r}"

def main():
    assert version("tahoe-lafs") == "1.20.0"
    valid, invalid, lenient, first = {}, {}, {}, {}
    for cap in samples():
        first.setdefault(kind(cap), text(cap))
        valid[text(cap)] = describe(text(cap))
        assert "canonical" not in valid[text(cap)]
    def refuse(string, why):
        cap, refusal = parse(string)
        if cap is None:
            invalid.setdefault(string, {"cap": string, "why": f"{why}: {refusal}"})
        elif string not in valid:
            if text(cap) == string and cap.BASE_STRING in (b"URI:LIT:", b"URI:DIR2-LIT:"):
                return  # just another LIT cap
            lenient.setdefault(string, {"cap": string, "why": why, "kind": kind(cap), "became": text(cap)})
    for name, string in first.items():
        for extension in EXTENSIONS if "MDMF" in name else ():
            valid[string + extension] = describe(string + extension)
        for prefix in ("ro.", "imm."):
            if parse(prefix + string)[0] is not None:
                valid[prefix + string] = describe(prefix + string) | {"prefix": prefix}
            else:
                refuse(prefix + string, f"prefix {prefix} on a cap of greater authority")
    for string, why in itertools.chain(*map(spoil, first.values()), odd(first)):
        refuse(string, why)
    lists = {"valid": sorted(valid.values(), key=lambda e: list(first).index(e["kind"])), "invalid": list(invalid.values()), "tahoe_lenient": list(lenient.values())}
    body = ",\n".join(f' "{name}": [\n' + ",\n".join("  " + json.dumps(e) for e in entries) + "\n ]" for name, entries in lists.items())
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text('{\n "source": "allmydata.uri of tahoe-lafs 1.20.0",\n' + body + "\n}\n")

if __name__ == "__main__":
    main()
