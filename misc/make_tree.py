#!/usr/bin/env python3
"""Makes a tree of many small files, the same for the same seed: what `cp -r`, `backup` and `restore` are measured and tested on.

    make_tree.py DIR [--files 20000] [--seed 1] [--plain]

Files of 0 bytes to 16 KiB, most of 1 to 4 KiB, some empty, a few of several 100 KiB; a folder 60 levels deep and one of 3,000 entries;
odd names; times with nanoseconds; modes; symlinks, some of which point nowhere; hard links; extended attributes (user.*). `--plain` leaves
out links and attributes, so that Tahoe takes the tree too. DIR must not exist. The owner is whoever runs it.
"""
import argparse, os, random, sys

EPOCH = 1_600_000_000
ODD = ["-rf", "--help", " leading", "trailing ", "two  spaces", "tab\there", "new\nline", "quote'\"", "back\\slash", "#hash", "a:b", "*", "?", "~",
       ".hidden", "...", "caf\u00e9", "\u65e5\u672c\u8a9e", "\u0440\u0443\u0441\u0441\u043a\u0438\u0439", "\U0001f600", "\u05d0\u05d1", "%2F", "URI:x"]

def size(rng):
    kind = rng.random()
    if kind < 0.03:
        return 0
    if kind < 0.75:
        return rng.randint(1024, 4096)
    if kind < 0.999:
        return rng.randint(1, 16 * 1024)
    return rng.randint(100 * 1024, 400 * 1024)

class Tree:
    def __init__(self, root, rng, plain):
        self.root, self.rng, self.plain = root, rng, plain
        self.folders, self.files, self.count = [], [], 0

    def folder(self, path):
        os.mkdir(os.path.join(self.root, path))
        self.folders.append(path)
        return path

    def file(self, path):
        rng, full = self.rng, os.path.join(self.root, path)
        with open(full, "wb") as f:
            f.write(rng.randbytes(size(rng)))
        if not self.plain and rng.random() < 0.05:
            for n in range(rng.randint(1, 3)):
                os.setxattr(full, f"user.test{n}", rng.randbytes(rng.randint(0, 200)))
        os.chmod(full, rng.choice([0o644, 0o644, 0o600, 0o755, 0o444, 0o640]))
        self.time(full)
        self.files.append(path)
        self.count += 1

    def time(self, full, **kw):
        ns = (EPOCH + self.rng.randrange(100_000_000)) * 10**9 + self.rng.randrange(10**9)
        os.utime(full, ns=(ns, ns), **kw)

    def symlink(self, path, target):
        os.symlink(target, os.path.join(self.root, path))
        self.time(os.path.join(self.root, path), follow_symlinks=False)
        self.count += 1

    def hard_link(self, path, to):
        os.link(os.path.join(self.root, to), os.path.join(self.root, path))
        self.count += 1

def make(tree, wanted):
    rng = tree.rng
    wide = min(3000, wanted // 4)
    tree.folder("wide")
    for n in range(wide):
        tree.file(f"wide/file-{n:05}")
    path = tree.folder("deep")
    for n in range(2, 61):
        path = tree.folder(f"{path}/{n}")
        if n % 3 == 0:
            tree.file(f"{path}/file")
    tree.folder("odd")
    for name in ODD + ["x" * 255, "\u00fc" * 127]:
        tree.file(f"odd/{name}")
    tree.folder("odd/\u00e9 folder")
    tree.folder("empty")
    if not tree.plain:
        tree.symlink("to-file", "wide/file-00000")
        tree.symlink("to-folder", "wide")
        tree.symlink("dangling", "nowhere/at all")
        tree.symlink("deep/absolute", "/nonexistent/target")
        tree.symlink("itself", "itself")
    folders = [tree.folder("work")]
    while tree.count < wanted:
        if rng.random() < 0.05:
            parent = rng.choice(folders)
            if parent.count("/") < 8:
                folders.append(tree.folder(f"{parent}/folder-{len(folders)}"))
        path = f"{rng.choice(folders)}/file-{tree.count}"
        kind = 1 if tree.plain else rng.random()
        if kind < 0.02:
            tree.symlink(path, rng.choice(["../dangling", "file-1", ".", os.path.basename(rng.choice(tree.files))]))
        elif kind < 0.04:
            tree.hard_link(path, rng.choice(tree.files))
        else:
            tree.file(path)
    # Last, since every entry made in a folder changes its time.
    for path in reversed(tree.folders):
        full = os.path.join(tree.root, path)
        if not tree.plain and rng.random() < 0.05:
            os.setxattr(full, "user.folder", rng.randbytes(16))
        os.chmod(full, rng.choice([0o755, 0o755, 0o700, 0o750, 0o555]))
        tree.time(full)
    os.chmod(tree.root, 0o755)
    tree.time(tree.root)

def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dir")
    parser.add_argument("--files", type=int, default=20000, help="how many files and links (at least 200)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--plain", action="store_true", help="no links, no extended attributes")
    a = parser.parse_args()
    if a.files < 200:
        parser.error("--files must be at least 200")
    os.mkdir(a.dir)
    tree = Tree(a.dir, random.Random(a.seed), a.plain)
    make(tree, a.files)
    print(f"{tree.count} files and links in {len(tree.folders)} folders", file=sys.stderr)

if __name__ == "__main__":
    main()
