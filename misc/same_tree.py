#!/usr/bin/env python3
"""Says how two local trees differ: what `rsync -aHAXn --checksum --itemize-changes --delete` would say, where there is no rsync.

    same_tree.py A B [--no-owner]

Compared are names, kinds, content, targets of symlinks, modes, owners, times of modification to the nanosecond, extended attributes
(ACLs among them) and which names are one file. Prints a line per difference; the exit code is 0 if there is none.
"""
import argparse, hashlib, os, stat, sys

def facts(root, owner):
    found, groups = {}, {}
    for folder, folders, files in os.walk(os.fsencode(root)):
        for name in [b""] * (folder == os.fsencode(root)) + folders + files:
            full = os.path.join(folder, name) if name else folder
            path = os.path.relpath(full, os.fsencode(root))
            st = os.lstat(full)
            fact = {"kind": stat.S_IFMT(st.st_mode), "mtime": st.st_mtime_ns}
            if owner:
                fact["owner"] = (st.st_uid, st.st_gid)
            if stat.S_ISLNK(st.st_mode):
                fact["target"] = os.readlink(full)
            else:
                fact["mode"] = stat.S_IMODE(st.st_mode)
            if stat.S_ISREG(st.st_mode):
                with open(full, "rb") as file:
                    fact["content"] = (st.st_size, hashlib.blake2b(file.read()).hexdigest())
            fact["xattrs"] = sorted((n, os.getxattr(full, n, follow_symlinks=False)) for n in os.listxattr(full, follow_symlinks=False))
            if not stat.S_ISDIR(st.st_mode):
                groups.setdefault((st.st_dev, st.st_ino), []).append(path)
            found[path] = fact
    for names in groups.values():
        for name in names:
            found[name]["names"] = sorted(names)
    return found

def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("a")
    parser.add_argument("b")
    parser.add_argument("--no-owner", action="store_true")
    args = parser.parse_args()
    a, b = (facts(root, not args.no_owner) for root in (args.a, args.b))
    different = 0
    for path in sorted(a.keys() | b.keys()):
        if path not in a or path not in b:
            different += 1
            print(f"{path!r} only in {args.a if path in a else args.b}")
        for key in sorted(set(a.get(path, {})) & set(b.get(path, {}))):
            if a[path][key] != b[path][key]:
                different += 1
                print(f"{path!r}: {key}: {a[path][key]!r} != {b[path][key]!r}")
    sys.exit(bool(different))

main()
