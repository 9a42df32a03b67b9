//! Pack files: many small shares one after the other, each in a record that describes and checks itself
//! (`docs/spec/store.md`, "Packs").

use caps::VerifyHash;

use crate::index::{LIVE, ShareKey};

/// The longest share that goes into a pack, in bytes.
pub const MAX_PACKED_LEN: u64 = 64 * 1024;
/// Bytes of a record before its share.
pub(crate) const HEADER_LEN: usize = 64;
/// A pack that has reached this length takes no more records.
pub(crate) const PACK_LEN: u64 = 256 * 1024 * 1024;

const MAGIC: [u8; 4] = *b"SrRc";

/// The header of a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Record {
    pub(crate) key: ShareKey,
    /// Bytes of the share.
    pub(crate) len: u32,
    /// First half of the BLAKE3 hash of the share's bytes.
    pub(crate) body: [u8; 16],
}

impl Record {
    pub(crate) fn new(key: ShareKey, share: &[u8]) -> Self {
        Self { key, len: share.len() as u32, body: body_hash(share) }
    }

    pub(crate) fn to_bytes(self) -> [u8; HEADER_LEN] {
        let mut out = [0; HEADER_LEN];
        out[..4].copy_from_slice(&MAGIC);
        out[4..8].copy_from_slice(&self.len.to_le_bytes());
        out[8..40].copy_from_slice(self.key.hash.as_bytes());
        out[40..42].copy_from_slice(&self.key.number.to_le_bytes());
        out[44..60].copy_from_slice(&self.body);
        let sum = header_sum(&out);
        out[60..].copy_from_slice(&sum);
        out
    }

    /// The header in these bytes, if they are one.
    pub(crate) fn parse(bytes: &[u8; HEADER_LEN]) -> Option<Self> {
        let len = u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
        if bytes[..4] != MAGIC || u64::from(len) > MAX_PACKED_LEN || bytes[60..] != header_sum(bytes) {
            return None;
        }
        let (mut hash, mut body) = ([0; 32], [0; 16]);
        hash.copy_from_slice(&bytes[8..40]);
        body.copy_from_slice(&bytes[44..60]);
        let number = u16::from_le_bytes([bytes[40], bytes[41]]);
        Some(Self { key: ShareKey { hash: VerifyHash::new(hash), number }, len, body })
    }

    /// Whether these are the share's bytes.
    pub(crate) fn matches(&self, share: &[u8]) -> bool {
        share.len() == self.len as usize && body_hash(share) == self.body
    }
}

/// Bytes that a share of `len` bytes takes in a pack.
pub(crate) fn record_len(len: usize) -> u64 {
    (HEADER_LEN + len) as u64
}

/// The path of a pack.
pub(crate) fn pack_path(pack: u32) -> String {
    format!("packs/{pack:08x}.pack")
}

/// The number of the pack with this file name. The upper half of the numbers is no pack's: there the index keeps how much of each is live.
pub(crate) fn pack_number(name: &str) -> Option<u32> {
    let digits = name.strip_suffix(".pack").filter(|digits| digits.len() == 8)?;
    u32::from_str_radix(digits, 16).ok().filter(|number| *number < LIVE)
}

fn body_hash(share: &[u8]) -> [u8; 16] {
    let mut out = [0; 16];
    out.copy_from_slice(&blake3::hash(share).as_bytes()[..16]);
    out
}

fn header_sum(bytes: &[u8; HEADER_LEN]) -> [u8; 4] {
    let mut out = [0; 4];
    out.copy_from_slice(&blake3::hash(&bytes[..60]).as_bytes()[..4]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_byte_of_a_header_is_seen() {
        let key = ShareKey { hash: VerifyHash::new([7; 32]), number: 300 };
        let record = Record::new(key, b"share");
        let bytes = record.to_bytes();
        assert_eq!(Record::parse(&bytes), Some(record));
        assert!(record.matches(b"share") && !record.matches(b"shard"));
        for at in 0..HEADER_LEN {
            let mut bad = bytes;
            bad[at] ^= 1;
            assert_eq!(Record::parse(&bad), None, "byte {at}");
        }
    }

    #[test]
    fn names_of_packs() {
        assert_eq!(pack_path(255), "packs/000000ff.pack");
        assert_eq!(pack_number("000000ff.pack"), Some(255));
        for name in ["ff.pack", "000000ff", "000000fg.pack", "0000000ff.pack", "80000000.pack"] {
            assert_eq!(pack_number(name), None, "{name}");
        }
    }
}
