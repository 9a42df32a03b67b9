//! Content-defined chunking under a key: where a large file is cut depends on the bytes around the cut and on the convergence secret,
//! so an insertion moves a few cuts only, and chunk lengths tell nobody without the secret which file it is.
//!
//! A gear hash with normalised chunking, as in FastCDC (Xia et al., USENIX ATC 2016): a cut is hard to find before the normal length
//! and easy after it. `docs/spec/trees.md` has the numbers and a test vector.

use std::sync::Arc;

use zeroize::Zeroizing;

/// No chunk but a file's last is shorter, in bytes.
pub const MIN_CHUNK_LEN: usize = 256 * 1024;
/// From this length on a cut is 16 times as likely, in bytes.
pub const NORMAL_CHUNK_LEN: usize = 1024 * 1024;
/// No chunk is longer, in bytes.
pub const MAX_CHUNK_LEN: usize = 4 * 1024 * 1024;

/// Bytes that the hash remembers: it is shifted by one bit for each.
const WINDOW: usize = 64;
/// A cut is where the hash is below this: one position in 2^22 before the normal length, one in 2^18 after it.
const BELOW_BEFORE: u64 = 1 << (64 - 22);
const BELOW_AFTER: u64 = 1 << (64 - 18);

/// What each byte adds to the hash. A secret: who has it can tell files by the lengths of their chunks.
#[derive(Clone)]
pub struct GearTable(Arc<Zeroizing<[u64; 256]>>);

impl std::fmt::Debug for GearTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("GearTable(secret)")
    }
}

impl GearTable {
    /// The table of a convergence secret: the first 2048 bytes of its keyed BLAKE3 stream, as little-endian numbers.
    pub fn new(convergence_secret: &[u8; 32]) -> Self {
        let mut bytes = Zeroizing::new([0; 256 * 8]);
        let mut hasher = blake3::Hasher::new_keyed(convergence_secret);
        hasher.update(b"sarsen v1 chunk table\n").finalize_xof().fill(&mut bytes[..]);
        let (words, _) = bytes.as_chunks::<8>();
        Self(Arc::new(Zeroizing::new(std::array::from_fn(|i| u64::from_le_bytes(words[i])))))
    }

    /// BLAKE3 of the table's 2048 bytes, to compare implementations by.
    pub fn fingerprint(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        for word in self.0.iter() {
            hasher.update(&word.to_le_bytes());
        }
        *hasher.finalize().as_bytes()
    }
}

/// Finds the cuts of one file, which it is fed from front to back in slices of any length.
#[derive(Clone, Debug)]
pub struct Chunker {
    table: GearTable,
    hash: u64,
    /// Bytes of the current chunk seen so far.
    len: usize,
}

impl Chunker {
    /// A chunker at the start of a file.
    pub fn new(table: GearTable) -> Self {
        Self { table, hash: 0, len: 0 }
    }

    /// Looks at the next bytes. `Some(n)`: the chunk ends after the first n of them, and the rest must be fed again; `None`: all of them
    /// belong to the chunk, which goes on. The file's end ends the last chunk.
    pub fn feed(&mut self, bytes: &[u8]) -> Option<usize> {
        let start = self.len;
        // Where nothing is cut nothing is hashed but what the window at the first possible cut covers.
        let mut at = (MIN_CHUNK_LEN - WINDOW).saturating_sub(start).min(bytes.len());
        for (until, below) in [(MIN_CHUNK_LEN - 1, 0), (NORMAL_CHUNK_LEN - 1, BELOW_BEFORE)] {
            let end = until.saturating_sub(start).min(bytes.len()).max(at);
            if let Some(found) = self.scan(&bytes[at..end], below) {
                return Some(self.cut(at + found));
            }
            at = end;
        }
        let end = (MAX_CHUNK_LEN - start).min(bytes.len());
        if let Some(found) = self.scan(&bytes[at..end], BELOW_AFTER) {
            return Some(self.cut(at + found));
        }
        self.len = start + end;
        (self.len == MAX_CHUNK_LEN).then(|| self.cut(end))
    }

    fn cut(&mut self, at: usize) -> usize {
        (self.hash, self.len) = (0, 0);
        at
    }

    /// How many bytes it takes until the hash is below the bound.
    fn scan(&mut self, bytes: &[u8], below: u64) -> Option<usize> {
        let (table, mut hash): (&[u64; 256], u64) = (&self.table.0, self.hash);
        for (index, byte) in bytes.iter().enumerate() {
            hash = (hash << 1).wrapping_add(table[usize::from(*byte)]);
            if hash < below {
                return Some(index + 1);
            }
        }
        self.hash = hash;
        None
    }
}
