//! One file of the journal.
//!
//! ```text
//! header   "sarsen journal 1" (16 bytes), salt (32 bytes)
//! record   length of what follows (u32, little-endian), sealed CBOR
//! ```

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chacha20poly1305::aead::{Aead, KeyInit};
use chacha20poly1305::{ChaCha20Poly1305, Key, Nonce};

use super::JournalError;
use super::record::Record;

const MAGIC: &[u8; 16] = b"sarsen journal 2";
pub(super) const HEADER_LEN: u64 = 48;
/// The longest record: a piece of a write and what stands around it. Anything longer is no record of ours.
const RECORD_MAX: u32 = 4 * 1024 * 1024;

/// Appends records to a new segment.
pub(super) struct Writer {
    file: Arc<File>,
    cipher: ChaCha20Poly1305,
    count: u64,
    len: u64,
    dirty: bool,
    /// Whether part of a record may stand at the end, or what was written may not reach the disk. Then nothing is added: another record
    /// would have the nonce of the one that failed, and stand behind what cannot be read.
    broken: bool,
}

impl Writer {
    pub(super) fn create(path: &Path, key: &[u8; 32], salt: [u8; 32]) -> io::Result<Self> {
        let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        file.write_all(&[&MAGIC[..], &salt].concat())?;
        let cipher = cipher(key, &salt);
        Ok(Self { file: Arc::new(file), cipher, count: 0, len: HEADER_LEN, dirty: true, broken: false })
    }

    pub(super) fn append(&mut self, record: &Record) -> io::Result<()> {
        if self.broken {
            return Err(io::Error::other("an earlier record could not be written"));
        }
        let plain = minicbor::to_vec(record).expect("writing to a Vec cannot fail");
        let sealed = self.cipher.encrypt(&nonce(self.count), &plain[..]);
        let sealed = sealed.expect("records are far below the cipher's limit");
        if sealed.len() > RECORD_MAX as usize {
            return Err(io::Error::other("the record is too long"));
        }
        let mut frame = Vec::with_capacity(4 + sealed.len());
        frame.extend_from_slice(&(sealed.len() as u32).to_le_bytes());
        frame.extend_from_slice(&sealed);
        self.broken = true;
        (&*self.file).write_all(&frame)?;
        self.broken = false;
        self.count += 1;
        self.len += frame.len() as u64;
        self.dirty = true;
        Ok(())
    }

    /// A sync that failed is not repeated: the next one may succeed without the data.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        if self.broken {
            return Err(io::Error::other("an earlier record could not be written"));
        }
        self.broken = true;
        self.file.sync_data()?;
        (self.broken, self.dirty) = (false, false);
        Ok(())
    }

    /// What is to be synced, and what to say once that is done.
    pub(super) fn to_sync(&self) -> (Arc<File>, u64) {
        (self.file.clone(), self.count)
    }

    /// So many records were synced, or that failed.
    pub(super) fn synced(&mut self, count: u64, well: bool) {
        self.broken |= !well;
        self.dirty &= !well || count < self.count;
    }

    pub(super) fn is_broken(&self) -> bool {
        self.broken
    }

    #[cfg(test)]
    pub(super) fn break_off(&mut self) {
        self.broken = true;
        (&*self.file).write_all(&[9, 0, 0, 0, 1]).expect("the disk has room");
    }

    pub(super) fn is_dirty(&self) -> bool {
        self.dirty
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }
}

/// Reads a segment.
pub(super) struct Reader {
    path: PathBuf,
    bytes: Vec<u8>,
    cipher: ChaCha20Poly1305,
}

impl Reader {
    pub(super) fn open(path: &Path, key: &[u8; 32]) -> Result<Self, JournalError> {
        let mut bytes = Vec::new();
        let read = File::open(path).and_then(|mut file| file.read_to_end(&mut bytes));
        read.map_err(|source| JournalError::Io { path: path.to_owned(), source })?;
        let reason = "it is no journal of this version";
        let unreadable = || JournalError::Unreadable { path: path.to_owned(), reason };
        let salt: [u8; 32] = match bytes.get(..HEADER_LEN as usize) {
            Some(header) if header.starts_with(MAGIC) => header[16..].try_into().map_err(|_| unreadable())?,
            _ => return Err(unreadable()),
        };
        Ok(Self { path: path.to_owned(), bytes, cipher: cipher(key, &salt) })
    }

    /// All whole records. One that is cut off, by its length, is the end. One that is there and does not open is not: what follows may
    /// have been acknowledged.
    pub(super) fn records(self) -> Result<Vec<Record>, JournalError> {
        let unreadable = |reason| JournalError::Unreadable { path: self.path.clone(), reason };
        let (mut records, mut rest) = (Vec::new(), &self.bytes[HEADER_LEN as usize..]);
        while let Some((len, behind)) = rest.split_first_chunk() {
            let len = u32::from_le_bytes(*len);
            // Room that a file system gave before the power went, and nothing in it.
            if rest.iter().all(|byte| *byte == 0) {
                break;
            }
            if len > RECORD_MAX {
                return Err(unreadable("a record is too long"));
            }
            let Some((sealed, behind)) = behind.split_at_checked(len as usize) else { break };
            let opened = self.cipher.decrypt(&nonce(records.len() as u64), sealed);
            // The last one may have been on its way to the disk; it was never acknowledged as durable.
            let plain = match opened {
                Err(_) if behind.is_empty() && !records.is_empty() => break,
                opened => opened.map_err(|_| unreadable("it is damaged, or another client's"))?,
            };
            let record = minicbor::decode(&plain);
            records.push(record.map_err(|_| unreadable("a newer program wrote it"))?);
            rest = behind;
        }
        Ok(records)
    }
}

fn cipher(key: &[u8; 32], salt: &[u8; 32]) -> ChaCha20Poly1305 {
    let mut hasher = blake3::Hasher::new_derive_key("sarsen v1 journal segment");
    let key = *hasher.update(key).update(salt).finalize().as_bytes();
    ChaCha20Poly1305::new(&Key::from(key))
}

/// A key seals each number once: its salt is random and new with each segment.
fn nonce(count: u64) -> Nonce {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&count.to_be_bytes());
    Nonce::from(nonce)
}
