#!/bin/sh
# Real programs on a mount: $1 is a folder of the mount, $2 a folder of this machine with the same to compare with, $3 some sources.
set -eu
grid=$1; here=$2; sources=$3
export GIT_CONFIG_GLOBAL=/dev/null GIT_AUTHOR_NAME=n GIT_AUTHOR_EMAIL=n@example.org GIT_COMMITTER_NAME=n GIT_COMMITTER_EMAIL=n@example.org

echo "# tar"
tar -cf "$here/sources.tar" -C "$sources" .
for at in "$grid" "$here"; do mkdir "$at/tree"; tar -xf "$here/sources.tar" -C "$at/tree"; done
diff -r "$grid/tree" "$here/tree"

echo "# rsync with attributes, and again: nothing is left to do"
rsync -aX "$here/tree/" "$grid/rsynced"
test -z "$(rsync -aXi "$here/tree/" "$grid/rsynced")"
diff -r "$grid/rsynced" "$here/tree"

echo "# git"
git init -q "$here/origin"
cp -r "$here/tree/." "$here/origin/"
git -C "$here/origin" add -A
git -C "$here/origin" commit -qm one
git clone -q --no-hardlinks "$here/origin" "$grid/clone"
test -z "$(git -C "$grid/clone" status --porcelain)"
echo more >> "$grid/clone/lib.rs"
git -C "$grid/clone" commit -qam two
git -C "$grid/clone" gc -q
git -C "$grid/clone" fsck --strict 2>&1 | grep -v "^notice" | grep . && exit 1

echo "# cargo, and what it built"
mkdir "$grid/crate" "$grid/crate/src"
printf '[package]\nname = "small"\nversion = "0.1.0"\nedition = "2021"\n[workspace]\n' > "$grid/crate/Cargo.toml"
echo 'fn main() { println!("built {}", include_str!("word")); }' > "$grid/crate/src/main.rs"
for word in once again; do
    printf "$word" > "$grid/crate/src/word"
    (cd "$grid/crate" && env -u CARGO_TARGET_DIR cargo build -q --offline)
    test "$("$grid/crate/target/debug/small")" = "built $word"
done

echo "# saving as editors do"
echo first > "$grid/note"
echo second > "$grid/.note.swp"
mv "$grid/note" "$grid/note~"; mv "$grid/.note.swp" "$grid/note"; rm "$grid/note~"
test "$(cat "$grid/note")" = second

echo "# holes, dd, appending, cutting"
for at in "$grid" "$here"; do
    dd if=/dev/zero of="$at/holes" bs=1 count=1 seek=5000000 status=none
    printf middle | dd of="$at/holes" bs=1 seek=2500000 conv=notrunc status=none
    cp --sparse=always "$at/holes" "$at/copy"
    dd if="$here/sources.tar" of="$at/synced" bs=64k conv=fsync status=none
    for n in 1 2 3; do echo line $n >> "$at/log"; done
    cp "$at/synced" "$at/cut"; truncate -s 12345 "$at/cut"; truncate -s 54321 "$at/cut"
done
for name in holes copy synced log cut; do cmp "$grid/$name" "$here/$name"; done

echo "# names, links, attributes"
ln -s note "$grid/link"; test "$(cat "$grid/link")" = second
if ln "$grid/note" "$grid/hard" 2>/dev/null; then echo "a hard link was made"; exit 1; fi
chmod 4750 "$grid/note"; touch -d "2001-02-03 04:05:06.123456789 UTC" "$grid/note"
test "$(TZ=UTC stat -c '%a %.9Y' "$grid/note")" = "4750 981173106.123456789"
mkdir "$grid/empty"; rmdir "$grid/empty"
test "$(df --output=avail "$grid" | tail -1)" -gt 0
(cd "$grid" && python3 - <<'P'
import fcntl, mmap, os, sqlite3, time
with open("mapped", "w+b") as f:
    f.truncate(100000)
    m = mmap.mmap(f.fileno(), 100000)
    m[50000:50005] = b"hello"
    m.flush(); m.close()
    f.seek(50000); assert f.read(5) == b"hello"
    fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
    other = open("mapped")
    try: fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB); raise SystemExit("two locks")
    except BlockingIOError: pass
os.setxattr("note", "user.colour", b"red")
assert os.getxattr("note", "user.colour") == b"red"
assert os.listxattr("note") == ["user.colour"]
assert os.getxattr("note", "user.sarsen.cap").startswith(b"URI:")
# A file is on the grid when enough servers have it; the others may still be taking their shares.
for attempt in range(100):
    health = os.getxattr("mapped", "user.sarsen.health")
    if health == b"healthy: 5 of 5, 2 needed": break
    time.sleep(0.2)
else: raise SystemExit(health)
gone = open("unlinked", "w+"); os.unlink("unlinked"); gone.write("x" * 100); gone.seek(0); assert gone.read() == "x" * 100
for number, name in enumerate(["a" * 255, "größer", "spaces and 'quotes'", "-rf"]):
    open(name, "w").write(str(number)); assert open(name).read() == str(number); os.unlink(name)
try: open("a" * 256, "w"); raise SystemExit("a name too long")
except OSError as error: assert error.errno == 36, error
base = sqlite3.connect("base.db")
base.execute("create table t(x)")
for number in range(20): base.execute("insert into t values (?)", (number,)); base.commit()
assert base.execute("pragma integrity_check").fetchone() == ("ok",)
many = os.path.join(os.getcwd(), "many"); os.mkdir(many)
for number in range(500): open(f"{many}/{number}", "w").write(str(number))
# A stream that is read while names go shows each once.
seen = []
for entry in os.scandir(many):
    seen.append(entry.name); os.unlink(entry.path)
assert sorted(seen, key=int) == [str(n) for n in range(500)] and os.listdir(many) == []
P
)
echo done
