//! The identity file: what makes a directory a store, and which.

use std::io;

use protocol::NodeKey;
use zeroize::{Zeroize, Zeroizing};

use crate::disk::{Disk, read_file, replace_file};
use crate::error::StoreError;

/// The store format this program writes, and the newest it reads.
pub const STORE_FORMAT: u16 = 1;

pub(crate) const IDENTITY_FILE: &str = "identity";
const MAGIC: [u8; 8] = *b"SarsenSt";
const LEN: usize = 48;

/// Writes the identity file; with this the directory becomes a store.
pub(crate) fn write(disk: &dyn Disk, key: &NodeKey) -> io::Result<()> {
    let mut bytes = Zeroizing::new([0; LEN]);
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..10].copy_from_slice(&STORE_FORMAT.to_le_bytes());
    bytes[16..].copy_from_slice(&*key.seed());
    let sum = checksum(&bytes);
    bytes[12..16].copy_from_slice(&sum);
    replace_file(disk, IDENTITY_FILE, &*bytes)
}

/// Reads the identity file.
pub(crate) fn read(disk: &dyn Disk) -> Result<NodeKey, StoreError> {
    let mut bytes = match read_file(disk, IDENTITY_FILE, 4096) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(StoreError::NotAStore { disk: disk.name() });
        }
        Err(source) => {
            return Err(StoreError::Io { disk: disk.name(), action: "read the identity file", source });
        }
    };
    let key = parse(disk, &bytes);
    bytes.zeroize();
    key
}

fn parse(disk: &dyn Disk, bytes: &[u8]) -> Result<NodeKey, StoreError> {
    let damaged = || StoreError::BadIdentity { disk: disk.name() };
    if bytes.len() < 10 || bytes[..8] != MAGIC {
        return Err(damaged());
    }
    // The version first: a newer format may have another length and checksum.
    let version = u16::from_le_bytes([bytes[8], bytes[9]]);
    if version > STORE_FORMAT {
        let (found, known) = (version.into(), STORE_FORMAT.into());
        return Err(StoreError::NewerVersion { disk: disk.name(), found, known });
    }
    let bytes: &[u8; LEN] = bytes.try_into().map_err(|_| damaged())?;
    if bytes[12..16] != checksum(bytes) {
        return Err(damaged());
    }
    let mut seed = Zeroizing::new([0; 32]);
    seed.copy_from_slice(&bytes[16..]);
    Ok(NodeKey::from_seed(&seed))
}

fn checksum(bytes: &[u8; LEN]) -> [u8; 4] {
    let mut hasher = blake3::Hasher::new_derive_key("sarsen v1 store identity checksum");
    hasher.update(&bytes[..12]).update(&bytes[16..]);
    let mut sum = [0; 4];
    hasher.finalize_xof().fill(&mut sum);
    sum
}
