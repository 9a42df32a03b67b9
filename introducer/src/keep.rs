//! Where announcements outlive a restart.
//!
//! The format: the eight bytes `sarsenAN`, a version (four bytes, little-endian), and the CBOR of a list of signed announcements. Each
//! entry proves itself, so the file needs no checksum; it is always replaced as a whole.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use protocol::announcement::Signed;

use crate::files;

/// A place for one piece of bytes, replaced as a whole.
pub trait Keep: Send + Sync + 'static {
    /// What was kept last; `None` if nothing ever was.
    ///
    /// # Errors
    ///
    /// What the disk says.
    fn load(&self) -> io::Result<Option<Vec<u8>>>;

    /// Keeps `bytes` in place of what was kept before. Returns once they are durable; a crash leaves the old bytes or the new ones.
    ///
    /// # Errors
    ///
    /// What the disk says.
    fn replace(&self, bytes: &[u8]) -> io::Result<()>;
}

/// A file on a disk.
#[derive(Debug)]
pub struct FileKeep(PathBuf);

impl FileKeep {
    /// The file at `path`, which need not be there yet; its folder must.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }
}

impl Keep for FileKeep {
    fn load(&self) -> io::Result<Option<Vec<u8>>> {
        files::read_bounded(&self.0, MAX_FILE_LEN)
    }

    fn replace(&self, bytes: &[u8]) -> io::Result<()> {
        files::replace(&self.0, bytes)
    }
}

/// In memory, for simulations. Clones share what they keep, as two runs of one node share its disk.
#[derive(Clone, Debug, Default)]
pub struct MemoryKeep(Arc<Mutex<Option<Vec<u8>>>>);

impl Keep for MemoryKeep {
    fn load(&self) -> io::Result<Option<Vec<u8>>> {
        Ok(self.0.lock().expect("no holder panics").clone())
    }

    fn replace(&self, bytes: &[u8]) -> io::Result<()> {
        *self.0.lock().expect("no holder panics") = Some(bytes.to_vec());
        Ok(())
    }
}

/// Why what was kept cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The disk failed.
    #[error("the kept announcements cannot be read")]
    Io(#[from] io::Error),
    /// They are not what an introducer keeps.
    #[error("the kept announcements are damaged; without them, servers will announce themselves again")]
    Damaged,
    /// A newer program wrote them.
    #[error("the kept announcements have format {version}, this program knows {FORMAT} at most")]
    Newer {
        /// Their format.
        version: u32,
    },
}

pub(crate) fn encode(list: &[Arc<Signed>]) -> Vec<u8> {
    let mut bytes = [&MAGIC[..], &FORMAT.to_le_bytes()].concat();
    let list: Vec<&Signed> = list.iter().map(AsRef::as_ref).collect();
    minicbor::encode(list, &mut bytes).expect("writing to a Vec cannot fail");
    bytes
}

pub(crate) fn decode(bytes: &[u8]) -> Result<Vec<Signed>, LoadError> {
    let rest = bytes.strip_prefix(MAGIC).ok_or(LoadError::Damaged)?;
    let (version, rest) = rest.split_first_chunk().ok_or(LoadError::Damaged)?;
    let version = u32::from_le_bytes(*version);
    if version > FORMAT {
        return Err(LoadError::Newer { version });
    }
    protocol::frame::decode(rest).map_err(|_| LoadError::Damaged)
}

const MAGIC: &[u8; 8] = b"sarsenAN";
const FORMAT: u32 = 1;
/// The longest file that is read back: twice what [`crate::Limits`] lets an introducer keep by default.
const MAX_FILE_LEN: u64 = 128 << 20;
