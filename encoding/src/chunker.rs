//! Content-defined chunking under a key: where a large file is cut depends on the bytes around the cut and on the convergence secret,
//! so an insertion moves a few cuts only, and chunk lengths tell nobody without the secret which file it is.
//!
//! A gear hash as in FastCDC (Xia et al., USENIX ATC 2016), and a cut where it is lower than anywhere within half a mebibyte on either side, as
//! in the local-maximum method (Bjorner, Blass, Gurevich, J. Comput. Syst. Sci. 76, 2010). What is beyond that distance has no say, so after
//! an insertion the cuts are soon the old ones again. `docs/spec/trees.md` has the numbers and a test vector.

use std::collections::VecDeque;
use std::sync::Arc;

use zeroize::Zeroizing;

/// No chunk but a file's last is shorter, in bytes.
pub const MIN_CHUNK_LEN: u64 = 256 * 1024;
/// No chunk is longer, in bytes.
pub const MAX_CHUNK_LEN: u64 = 4 * 1024 * 1024;
/// How far on either side of a cut the hash is higher, in bytes. Chunks have twice as many on average.
pub const CUT_HORIZON: u64 = 512 * 1024;

/// Only hashes below this can be cuts: one position in 4096.
const CANDIDATE_BELOW: u64 = 1 << (64 - 12);

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

/// Finds the cuts of one file, which it is fed from front to back in slices of any length. Cuts become known up to
/// [`MAX_CHUNK_LEN`] + [`CUT_HORIZON`] bytes behind what was fed.
#[derive(Clone, Debug)]
pub struct Chunker {
    table: GearTable,
    hash: u64,
    /// Bytes fed so far.
    fed: u64,
    /// Where the current chunk begins.
    start: u64,
    /// Candidates within the horizon before `fed` that are lower than all before them that are gone: (position, hash), both ascending.
    lows: VecDeque<(u64, u64)>,
    /// A candidate lower than all within the horizon before it, while it is not known what follows.
    pending: Option<(u64, u64)>,
    ends: Vec<u64>,
}

impl Chunker {
    /// A chunker at the start of a file.
    pub fn new(table: GearTable) -> Self {
        Self { table, hash: 0, fed: 0, start: 0, lows: VecDeque::new(), pending: None, ends: Vec::new() }
    }

    /// Looks at the next bytes. Returns the chunk ends that are known now and were not before: offsets in the file, ascending.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<u64> {
        let end = self.fed + bytes.len() as u64;
        let mut rest = bytes;
        while let Some(found) = self.scan(rest) {
            rest = &rest[found..];
            self.candidate(end - rest.len() as u64);
        }
        self.fed = end;
        self.settle(end);
        while end > self.start + MAX_CHUNK_LEN + CUT_HORIZON {
            self.cut(self.start + MAX_CHUNK_LEN);
        }
        std::mem::take(&mut self.ends)
    }

    /// The file ends: the remaining ends, the last of them the file's own (none if it is empty).
    pub fn finish(&mut self) -> Vec<u64> {
        // Nothing follows that could be lower.
        self.settle(u64::MAX);
        while self.fed > self.start {
            self.cut(self.fed.min(self.start + MAX_CHUNK_LEN));
        }
        std::mem::take(&mut self.ends)
    }

    /// How many bytes it takes until the hash is low enough for a candidate.
    fn scan(&mut self, bytes: &[u8]) -> Option<usize> {
        let (table, mut hash): (&[u64; 256], u64) = (&self.table.0, self.hash);
        for (index, byte) in bytes.iter().enumerate() {
            hash = (hash << 1).wrapping_add(table[usize::from(*byte)]);
            if hash < CANDIDATE_BELOW {
                self.hash = hash;
                return Some(index + 1);
            }
        }
        self.hash = hash;
        None
    }

    fn candidate(&mut self, at: u64) {
        self.settle(at - 1);
        while self.lows.front().is_some_and(|(low, _)| low + CUT_HORIZON < at) {
            self.lows.pop_front();
        }
        if self.lows.front().is_none_or(|(_, lowest)| self.hash < *lowest) {
            self.pending = Some((at, self.hash));
        }
        while self.lows.back().is_some_and(|(_, hash)| *hash >= self.hash) {
            self.lows.pop_back();
        }
        self.lows.push_back((at, self.hash));
    }

    /// Nothing lower comes up to and including position `seen`: the pending candidate is an edge if its horizon ends there.
    fn settle(&mut self, seen: u64) {
        let Some((edge, _)) = self.pending.filter(|(edge, _)| edge.saturating_add(CUT_HORIZON) <= seen)
        else {
            return;
        };
        self.pending = None;
        while edge > self.start + MAX_CHUNK_LEN {
            self.cut(self.start + MAX_CHUNK_LEN);
        }
        if edge - self.start >= MIN_CHUNK_LEN {
            self.cut(edge);
        }
    }

    fn cut(&mut self, end: u64) {
        self.start = end;
        self.ends.push(end);
    }
}
