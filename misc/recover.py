#!/usr/bin/env python3
"""Recover a Sarsen file from k bare share files and a read cap, with no server.

    recover.py CAP SHARE_FILE... -o OUT

CAP may be @FILE (a file that holds the cap), OUT may be - (standard output). Any k of the N shares will do, in any order;
files that are damaged or of other objects are named on stderr and passed over. The exit status is 0 only if all of the file
was written; else a single last line on stderr says why not.

This was written from docs/spec/ alone (caps.md, objects.md, erasure-code.md), without sight of Sarsen's own code. Section
numbers below are those of objects.md. It needs Python 3.11 and `blake3` and `cryptography` from PyPI.
"""

import argparse
import base64
import binascii
import hashlib
import os
import re
import struct
import sys
from typing import NamedTuple

from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

CELL, TAG = 16384, 16  # bytes of a full cell with its tag, and of a tag
FOOTER = struct.Struct("<HHI8s")
HEAD = struct.Struct("<HBBBBHHHIQ32s32s56s")  # the descriptor up to the share roots


class Refused(Exception):
    """No file, whatever other shares there are."""


class BadShare(Exception):
    """This share file is of no use; another may be."""


def need(condition: bool, why: str, error: type[Exception] = Refused) -> None:
    if not condition:
        raise error(why)


def derive(context: str, data: bytes) -> bytes:
    return blake3(data, derive_key_context=context).digest()


def root(hashes: bytes, segment: int) -> bytes:
    return hashes[32 * segment : 32 * segment + 32]


# ---- caps (caps.md) ----


class ReadCap(NamedTuple):
    key: bytes
    verify_hash: bytes
    k: int
    n: int
    size: int

    def bucket(self) -> int:
        tag = b"allmydata_immutable_key_to_storage_index_v1"
        index = hashlib.sha256(hashlib.sha256(b"%d:%s," % (len(tag), tag) + self.key).digest()).digest()[:16]
        return int.from_bytes(derive("sarsen v1 placement bucket", index)[:2], "little")


def base32(text: str) -> bytes:
    try:
        data = base64.b32decode(text.upper() + "=" * (-len(text) % 8))
    except binascii.Error:
        raise Refused("the cap is malformed: base32") from None
    strict = base64.b32encode(data).decode().rstrip("=").lower() == text  # lower case, no stray trailing bits
    need(strict, "the cap is malformed: base32")
    return data


def number(text: str) -> int:
    need(bool(re.fullmatch("0|[1-9][0-9]{0,19}", text)) and int(text) < 1 << 64, "the cap is malformed: number")
    return int(text)


def parse_cap(raw: bytes) -> bytes | ReadCap:
    """The file itself for a literal cap, else the fields of a read cap. No error repeats the cap."""
    need(len(raw) <= 1024, "the cap is malformed: too long")
    need(all(0x21 <= byte <= 0x7E for byte in raw), "the cap is malformed: a character that no cap has")
    match = re.fullmatch(r"(?:ro\.|imm\.)?URI:([^:]*)(?::(.*))?", raw.decode("ascii"))
    need(bool(match), "this is not a cap: it does not begin with URI:")
    kind, fields = match[1], [] if match[2] is None else match[2].split(":")
    if kind in ("LIT", "DIR2-LIT"):
        need(len(fields) == 1, "the cap is malformed: number of fields")
        data = base32(fields[0])
        need(len(data) <= 55, "the cap is malformed: too much literal data")
        return data
    need(kind in ("CHK", "DIR2-CHK"), "this kind of cap does not read an immutable object")
    need(len(fields) == 5, "the cap is malformed: number of fields")
    cap = ReadCap(base32(fields[0]), base32(fields[1]), *map(number, fields[2:]))
    need(len(cap.key) == 16 and len(cap.verify_hash) == 32, "the cap is malformed: length of a field")
    need(1 <= cap.k <= cap.n <= 256 and cap.size <= 1 << 60, "the cap is malformed: a number is out of bounds")
    return cap


# ---- the erasure code (erasure-code.md) ----

CANTOR = [0x0001, 0xACCA, 0x3C0E, 0x163E, 0xC582, 0xED2E, 0x914C, 0x4012,
          0x6C98, 0x10D8, 0x6A72, 0xB900, 0xFDB8, 0xFB34, 0xFF38, 0x991E]  # fmt: skip


def span(basis: list[int]) -> list[int]:
    """Entry i is the XOR of the elements of all bits set in i."""
    table = [0]
    for element in basis:
        table += [entry ^ element for entry in table]
    return table


def field_tables() -> tuple[list[int], dict[int, int]]:
    """Powers of the polynomial x as symbols, and their logarithms: x generates all 65535 nonzero elements."""
    symbol_of = {poly: symbol for symbol, poly in enumerate(span(CANTOR))}
    exp, poly = [], 1
    for _ in range(65535):
        exp.append(symbol_of[poly])
        poly = poly << 1 ^ (0x1002D if poly & 0x8000 else 0)
    log = {symbol: power for power, symbol in enumerate(exp)}
    assert len(symbol_of) == 65536 and len(log) == 65535
    return exp, log


def planes(block: bytes) -> tuple[bytes, bytes]:
    """The low bytes of all symbols, and the high bytes, in order of symbols."""
    tail = len(block) // 64 * 64
    half = tail + (len(block) - tail) // 2
    low = b"".join(block[i : i + 32] for i in range(0, tail, 64)) + block[tail:half]
    high = b"".join(block[i + 32 : i + 64] for i in range(0, tail, 64)) + block[half:]
    return low, high


class Decoder:
    """Computes the missing data blocks from those of the numbers in `have`, of which there are k."""

    def __init__(self, k: int, have: tuple[int, ...]) -> None:
        exp, log = field_tables()
        m = 1 << (k - 1).bit_length()
        points = [number if number < k else m + number - k for number in have]
        known = points + list(range(k, m))  # Z: the zeros stand in the products
        below = [sum(log[x ^ l] for l in known if l != x) for x in points]
        self.tables = {}
        for y in sorted(set(range(k)) - set(have)):
            above = sum(log[y ^ l] for l in known)
            self.tables[y] = []
            for x, under in zip(points, below):
                c = above - log[y ^ x] - under  # the logarithm of the coefficient
                products = [exp[(c + log[1 << bit]) % 65535] for bit in range(16)]
                by_low, by_high = span(products[:8]), span(products[8:])
                self.tables[y].append([bytes(p >> shift & 255 for p in table) for shift in (0, 8) for table in (by_low, by_high)])

    def decode(self, blocks: list[bytes]) -> dict[int, bytes]:
        """Blocks in the order of `have`; the result is the missing data blocks by number."""
        split, half, result = [planes(block) for block in blocks], len(blocks[0]) // 2, {}
        for y, tables in self.tables.items():
            sums = [0, 0]  # low plane, high plane
            for (low, high), maps in zip(split, tables):
                for plane in (0, 1):
                    sums[plane] ^= int.from_bytes(low.translate(maps[2 * plane]), "little")
                    sums[plane] ^= int.from_bytes(high.translate(maps[2 * plane + 1]), "little")
            low, high = (plane.to_bytes(half, "little") for plane in sums)
            result[y] = b"".join(low[i : i + 32] + high[i : i + 32] for i in range(0, half, 32))
        return result


# ---- the descriptor (sections 1, 3, 4 and 6) ----


class Object:
    """What the descriptor says, held against the cap: steps 3, 4 and 6 to 8 of section 10."""

    def __init__(self, descriptor: bytes, cap: ReadCap) -> None:
        need(descriptor[:2] == b"\x01\x00", "unsupported format version: a newer program is needed")
        need(len(descriptor) >= HEAD.size, "no object: the descriptor is cut off")
        (_, self.kind, cipher, codec, zero, self.k, self.n, bucket, self.block_len, c, salt, commitment, sealed) = HEAD.unpack_from(descriptor)
        known = self.kind in (0, 1) and (cipher, codec, zero) == (1, 1, 0)
        need(known, "unsupported kind, cipher or codec: a newer program is needed")
        need(1 <= self.k <= self.n <= 256, "no object: k or N is out of bounds")
        need(self.block_len in [1 << bit for bit in range(14, 21)], "no object: B is out of bounds")
        p = c - TAG * -(-c // CELL)
        possible = 0 <= p <= 1 << 48 and p + TAG * max(1, -(-p // (CELL - TAG))) == c
        need(possible, "no object: no file has this length of ciphertext")
        roots_end = HEAD.size + 32 * self.n
        need(len(descriptor) >= roots_end, "no object: the descriptor is cut off")
        self.share_roots = descriptor[HEAD.size : roots_end]
        self.check_extensions(descriptor[roots_end:])
        need((self.k, self.n) == (cap.k, cap.n), "the cap was altered: k or N is not the object's")
        need(bucket == cap.bucket(), "the cap was altered: its bucket is not the object's")

        self.segments = -(-c // (self.k * self.block_len))
        self.last_len = c - (self.segments - 1) * self.k * self.block_len
        self.last_block_len = -(-self.last_len // self.k)
        self.last_block_len += self.last_block_len % 2
        self.blocks_len = (self.segments - 1) * self.block_len + self.last_block_len

        secret = cap.key + salt
        need(derive("sarsen v1 key commitment", secret) == commitment, "wrong key: the cap was altered")
        try:
            sealer = ChaCha20Poly1305(derive("sarsen v1 sealed descriptor part", secret))
            size = int.from_bytes(sealer.decrypt(bytes(12), sealed, descriptor[:88] + descriptor[144:])[:8], "little")
        except InvalidTag:
            raise Refused("malformed: the sealed part does not open") from None
        need(self.kind == 1 or size == p, "malformed: the sealed size is not the plaintext's")
        need(size == cap.size, "the cap was altered: the size is not the object's")
        content_key = derive("sarsen v1 content key", secret)
        if self.kind == 1:
            content_key = derive("sarsen v1 tree content key", derive("sarsen v1 traversal key", secret))
        self.cells = ChaCha20Poly1305(content_key)

    @staticmethod
    def check_extensions(rest: bytes) -> None:
        previous = -1
        while rest:
            need(len(rest) >= 4, "no object: the descriptor ends within an extension")
            kind, length = struct.unpack_from("<HH", rest)
            need(len(rest) >= 4 + length, "no object: the descriptor ends within an extension")
            need(kind > previous, "no object: extensions out of order")
            need(kind < 0x8000, "unsupported critical extension: a newer program is needed")
            previous, rest = kind, rest[4 + length :]


# ---- share files (sections 7, 9 and 10) ----


class Share(NamedTuple):
    path: str
    column: bytes  # the roots of its blocks


def read_at(path: str, offset: int, length: int) -> bytes:
    try:
        with open(path, "rb") as file:
            file.seek(offset)
            data = file.read(length)
    except OSError as error:
        raise BadShare(error.strerror) from None
    need(len(data) == length, "damaged: cut off", BadShare)
    return data


class Recovery:
    def __init__(self, cap: ReadCap, paths: list[str]) -> None:
        self.cap = cap
        self.object: Object | None = None
        self.data_columns: list[bytes] = []
        self.shares: dict[int, list[Share]] = {}  # by number: copies of one share may be damaged in different blocks
        self.noted: set[str] = set()
        self.decoder: tuple[tuple[int, ...], Decoder] | None = None
        for path in paths:
            try:
                self.add(path)
            except BadShare as error:
                self.note(path, error)
        need(bool(self.object), "none of the share files belongs to this cap")
        need(len(self.shares) >= self.object.k, f"not enough shares: {self.object.k} are needed, {len(self.shares)} can be used")

    def note(self, path: str, why: BadShare) -> None:
        if path not in self.noted:
            print(f"recover: passing over {path}: {why}", file=sys.stderr)
        self.noted.add(path)

    def add(self, path: str) -> None:
        """Steps 1 to 8 of section 10, and 9 in advance, so that every damaged file is named."""
        need(os.path.isfile(path), "no such file", BadShare)
        length = os.path.getsize(path)
        need(length >= FOOTER.size, "not a share: too short", BadShare)
        share_number, version, descriptor_len, magic = FOOTER.unpack(read_at(path, length - FOOTER.size, FOOTER.size))
        need(magic == b"SarsenSh", "not a share, or cut off: no footer", BadShare)
        need(version == 1 and descriptor_len <= min(16384, length - FOOTER.size), "damaged, or a newer format: bad footer", BadShare)
        descriptor = read_at(path, length - FOOTER.size - descriptor_len, descriptor_len)
        is_ours = derive("sarsen v1 object verify hash", descriptor) == self.cap.verify_hash
        need(is_ours, "a share of another object, or damaged", BadShare)
        self.object = obj = self.object or Object(descriptor, self.cap)

        need(share_number < obj.n, "damaged: no such share number", BadShare)
        numbers = [*range(obj.k)] + [share_number] * (share_number >= obj.k)  # of the columns in the table
        expected = obj.blocks_len + 32 * obj.segments * len(numbers) + descriptor_len + FOOTER.size
        need(length == expected, "damaged: wrong length", BadShare)
        table = {n: read_at(path, obj.blocks_len + 32 * obj.segments * i, 32 * obj.segments) for i, n in enumerate(numbers)}
        for n, column in table.items():
            need(blake3(column).digest() == root(obj.share_roots, n), "damaged: table of block roots", BadShare)
        self.data_columns = self.data_columns or [table[n] for n in range(obj.k)]
        # A share with some damaged blocks still serves for the others: each block is proved by itself.
        share = Share(path, table[share_number])
        if any([self.block(share, segment) for segment in range(obj.segments)]):
            self.shares.setdefault(share_number, []).append(share)

    def block(self, share: Share, segment: int) -> bytes | None:
        """Step 9: the block, if it is intact."""
        obj = self.object
        try:
            length = obj.last_block_len if segment == obj.segments - 1 else obj.block_len
            data = read_at(share.path, segment * obj.block_len, length)
            need(blake3(data).digest() == root(share.column, segment), f"damaged: block {segment}, at least (intact ones are used)", BadShare)
            return data
        except BadShare as error:
            return self.note(share.path, error)

    def ciphertext(self, segment: int) -> bytes:
        """Step 10: the data blocks of a segment, joined and cut. Which k intact blocks are used does not matter."""
        obj, blocks = self.object, {}
        for share_number in sorted(self.shares):  # data blocks first: they need no decoding
            if len(blocks) < obj.k:
                copies = (self.block(share, segment) for share in self.shares[share_number])
                if intact := next(filter(None, copies), None):
                    blocks[share_number] = intact
        need(len(blocks) == obj.k, f"not enough shares: {obj.k} are needed, segment {segment} has {len(blocks)} intact blocks")
        have = tuple(blocks)
        if have != tuple(range(obj.k)):
            if not self.decoder or self.decoder[0] != have:
                self.decoder = have, Decoder(obj.k, have)
            for missing, data in self.decoder[1].decode(list(blocks.values())).items():
                consistent = blake3(data).digest() == root(self.data_columns[missing], segment)
                need(consistent, "inconsistent encoding: the shares are as uploaded and do not belong together")
                blocks[missing] = data
        joined = b"".join(blocks[n] for n in range(obj.k))
        return joined[: obj.last_len] if segment == obj.segments - 1 else joined

    def plaintext(self):
        """Step 11: the plaintext, cell by cell."""
        cell, last_segment = 0, self.object.segments - 1
        for segment in range(last_segment + 1):
            ciphertext = self.ciphertext(segment)
            for offset in range(0, len(ciphertext), CELL):
                is_last = segment == last_segment and offset + CELL >= len(ciphertext)
                nonce = struct.pack("<Q3xB", cell, is_last)
                try:
                    yield self.object.cells.decrypt(nonce, ciphertext[offset : offset + CELL], None)
                except InvalidTag:
                    raise Refused(f"bad cell: number {cell} was encrypted wrongly") from None
                cell += 1


def write_all(pieces, out: str) -> None:
    """To a new file that takes OUT's place once it is whole; to standard output and devices as the pieces come."""
    if out == "-" or (os.path.exists(out) and not os.path.isfile(out)):
        with open(1 if out == "-" else out, "wb") as file:
            file.writelines(pieces)
        return
    partial = out + ".partial"
    try:
        with open(partial, "wb") as file:
            file.writelines(pieces)
        os.replace(partial, out)
    except BaseException:
        if os.path.exists(partial):
            os.unlink(partial)
        raise


def main() -> int:
    parser = argparse.ArgumentParser(description="Recover a Sarsen file from k bare share files and a read cap.")
    parser.add_argument("cap", metavar="CAP", help="URI:CHK:... or URI:LIT:..., or @FILE that holds it")
    parser.add_argument("shares", metavar="SHARE_FILE", nargs="*")
    parser.add_argument("-o", dest="out", metavar="OUT", required=True, help="- is standard output")
    parser.add_argument("--index", action="store_true", help="of a tree, write the index of other objects")
    options = parser.parse_intermixed_args()
    try:
        raw = os.fsencode(options.cap)
        if raw.startswith(b"@"):
            with open(raw[1:], "rb") as file:
                raw = re.sub(rb"\r?\n\Z", b"", file.read(4096))
        cap = parse_cap(raw)
        if isinstance(cap, bytes):
            write_all([cap], options.out)
            return 0
        recovery = Recovery(cap, options.shares)
        is_file = recovery.object.kind == 0 or options.index
        need(is_file, "this object is a tree: an index of other objects and not the file (--index writes the index)")
        write_all(recovery.plaintext(), options.out)
        return 0
    except (Refused, OSError) as error:
        print(f"recover: cannot recover: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
