//! The cipher: 16 KiB cells of ChaCha20-Poly1305 (RFC 8439).

use caps::TraversalKey;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use zeroize::Zeroize;

use crate::descriptor::Kind;
use crate::keys::ObjectId;

/// Bytes of plaintext in a full cell.
pub const CELL_DATA_LEN: usize = CELL_LEN - TAG_LEN;
/// Bytes of ciphertext in a full cell.
pub const CELL_LEN: usize = 16 * 1024;
/// Bytes of a Poly1305 tag.
pub const TAG_LEN: usize = 16;

/// A cell whose tag does not hold: the key is wrong, or the uploader encrypted wrongly.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("cell {cell} does not decrypt")]
pub struct CellError {
    /// Number of the cell in the file, from 0.
    pub cell: u64,
}

/// The key that seals an object's cells.
pub struct ContentKey(LessSafeKey);

impl std::fmt::Debug for ContentKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ContentKey(secret)")
    }
}

impl ContentKey {
    /// The content key of an object.
    pub fn new(id: &ObjectId) -> Self {
        let mut key = id.derive("sarsen v1 content key");
        let sealing = chacha20_poly1305(&key);
        key.zeroize();
        Self(sealing)
    }

    /// The content key of a tree object: it follows from the traversal key alone, so that whoever walks trees can decrypt the payload as
    /// far as section B (`docs/spec/trees.md`).
    pub fn for_tree(traversal_key: &TraversalKey) -> Self {
        let mut key = blake3::derive_key("sarsen v1 tree content key", traversal_key.expose());
        let sealing = chacha20_poly1305(&key);
        key.zeroize();
        Self(sealing)
    }

    /// The content key of an object of this kind.
    pub fn of(id: &ObjectId, kind: Kind) -> Self {
        match kind {
            Kind::Direct => Self::new(id),
            Kind::Tree => Self::for_tree(&id.key.traversal_key(&id.salt)),
        }
    }

    /// Seals consecutive cells in place, the first of them number `first_cell` of the file.
    ///
    /// `buffer` holds the cells at a stride of [`CELL_LEN`], each with [`TAG_LEN`] bytes of room at its end; only the last may be
    /// short. `ends_file` marks the last of them as the last of the file.
    pub fn seal(&self, first_cell: u64, ends_file: bool, buffer: &mut [u8]) {
        let count = buffer.len().div_ceil(CELL_LEN);
        for (index, cell) in buffer.chunks_mut(CELL_LEN).enumerate() {
            let last = ends_file && index + 1 == count;
            let data_len = cell.len() - TAG_LEN;
            let (data, tag) = cell.split_at_mut(data_len);
            let sealed = self
                .0
                .seal_in_place_separate_tag(nonce(first_cell + index as u64, last), Aad::empty(), data)
                .expect("a cell is far below the cipher's limit of 256 GiB");
            tag.copy_from_slice(sealed.as_ref());
        }
    }

    /// Opens consecutive cells in place and closes the gaps their tags leave; returns how many bytes of plaintext now stand at the
    /// front of `buffer`.
    ///
    /// # Errors
    ///
    /// [`CellError`] names the first cell whose tag does not hold; `buffer` is then rubbish.
    pub fn open(&self, first_cell: u64, ends_file: bool, buffer: &mut [u8]) -> Result<usize, CellError> {
        let count = buffer.len().div_ceil(CELL_LEN);
        let mut written = 0;
        for index in 0..count {
            let last = ends_file && index + 1 == count;
            let (start, end) = (index * CELL_LEN, ((index + 1) * CELL_LEN).min(buffer.len()));
            let cell = first_cell + index as u64;
            let opened = self
                .0
                .open_within(nonce(cell, last), Aad::empty(), &mut buffer[written..end], start - written..)
                .map_err(|_| CellError { cell })?;
            written += opened.len();
        }
        Ok(written)
    }
}

pub(crate) fn chacha20_poly1305(key: &[u8; 32]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, key).expect("the key has the cipher's length"))
}

/// Cell number (8 bytes, little-endian), three zero bytes, and 1 for the last cell of the file.
fn nonce(cell: u64, last: bool) -> Nonce {
    let mut bytes = [0; 12];
    bytes[..8].copy_from_slice(&cell.to_le_bytes());
    bytes[11] = u8::from(last);
    Nonce::assume_unique_for_key(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_cannot_be_cut_swapped_or_extended() {
        let key = ContentKey::new(&ObjectId::random([3; 48]));
        let plain: Vec<u8> = (0..CELL_DATA_LEN * 2 + 100).map(|i| i as u8).collect();
        let mut sealed = vec![0; plain.len() + 3 * TAG_LEN];
        for (from, to) in plain.chunks(CELL_DATA_LEN).zip(sealed.chunks_mut(CELL_LEN)) {
            to[..from.len()].copy_from_slice(from);
        }
        key.seal(5, true, &mut sealed);
        let open = |mut bytes: Vec<u8>, first, ends| {
            key.open(first, ends, &mut bytes).map(|len| bytes[..len].to_vec())
        };
        assert_eq!(open(sealed.clone(), 5, true), Ok(plain));
        assert_eq!(open(sealed[..2 * CELL_LEN].to_vec(), 5, true), Err(CellError { cell: 6 }));
        assert_eq!(open(sealed.clone(), 5, false), Err(CellError { cell: 7 }));
        assert_eq!(open(sealed.clone(), 4, true), Err(CellError { cell: 4 }));
        sealed.rotate_left(CELL_LEN);
        assert!(open(sealed, 5, true).is_err());
    }
}
