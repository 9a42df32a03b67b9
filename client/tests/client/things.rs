//! Clients and caps to test with.

use caps::Cap;
use client::{ClientDir, Shares};
use tempfile::TempDir;

/// A client's directory, below a temporary folder that goes when it is dropped.
pub(crate) struct Home {
    pub(crate) folder: TempDir,
    pub(crate) dir: ClientDir,
}

impl Home {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let introducers =
            ["sarsen://aibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaiba@127.0.0.1:7000".parse().unwrap()];
        let shares = Shares { needed: 2, happy: 3, total: 4 };
        let dir = ClientDir::create(
            &folder.path().join("client"),
            &introducers,
            shares,
            Some("attic".into()),
            &protocol::OsRandom,
        );
        Self { folder, dir: dir.unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join("client").join(name)
    }
}

fn base32(bytes: &[u8]) -> String {
    data_encoding::BASE32_NOPAD.encode(bytes).to_lowercase()
}

/// The write cap of a directory.
pub(crate) fn directory(number: u8) -> Cap {
    format!("URI:DIR2:{}:{}", base32(&[number; 16]), base32(&[number; 32])).parse().unwrap()
}

/// The read cap of a file.
pub(crate) fn file(number: u8) -> Cap {
    format!("URI:CHK:{}:{}:3:10:1000", base32(&[number; 16]), base32(&[number; 32])).parse().unwrap()
}
