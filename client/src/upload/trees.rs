//! Tree objects: both sections sealed into one payload, stored like any object. Files' indexes and directories are made of them.

use std::sync::Arc;

use bytes::Bytes;
use caps::{Cap, ImmutableRead};
use encoding::{Kind, ObjectId, Sections, seal_tree, tree_hash};

use super::{BytesSource, Fingerprints, Form, PutReport, UploadError};
use crate::Client;
use crate::progress::Transfer;

/// Where a tree object's key comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TreeKey {
    /// From its content and the convergence secret: the same tree is stored once.
    Convergent,
    /// At random: nobody can tell that it was stored before.
    Random,
}

impl Client {
    /// Stores one tree object and returns its read cap and its descriptor's salt. `size` is what the cap states: of a file its bytes.
    /// `lease_tag` is by default that of the root for whose sake the client works, if there is one.
    ///
    /// # Errors
    ///
    /// [`UploadError`].
    pub async fn put_tree(
        &self,
        sections: Sections,
        size: u64,
        key: TreeKey,
        directory: bool,
        lease_tag: Option<[u8; 16]>,
        transfer: &Transfer,
    ) -> Result<(ImmutableRead, [u8; 32]), UploadError> {
        let report = self.put_tree_object(sections, size, key, directory, lease_tag, transfer).await?;
        match (report.cap, report.tree_salt) {
            (Cap::ImmutableRead(cap), Some(salt)) => Ok((cap, salt)),
            _ => unreachable!("a tree object is no literal and has a salt"),
        }
    }

    /// As [`Client::put_tree`], with all there is to report.
    pub(crate) async fn put_tree_object(
        &self,
        sections: Sections,
        size: u64,
        key: TreeKey,
        directory: bool,
        lease_tag: Option<[u8; 16]>,
        transfer: &Transfer,
    ) -> Result<PutReport, UploadError> {
        let client = self.clone();
        let (payload, prints, id) = self.pool().run(move || client.seal(&sections, size, key)).await;
        let form = Form { id, tree_size: Some(size), directory, lease_tag, part: false };
        let len = payload.len() as u64;
        self.put_object(Arc::new(BytesSource(payload)), len, prints, form, transfer).await
    }

    fn seal(&self, sections: &Sections, size: u64, key: TreeKey) -> (Bytes, Fingerprints, ObjectId) {
        let (params, whole) = (self.params(), tree_hash(sections));
        let id = match key {
            TreeKey::Convergent => {
                ObjectId::convergent(self.convergence_secret(), params, Kind::Tree, size, &whole)
            }
            TreeKey::Random => ObjectId::random(self.random().bytes()),
        };
        let payload = Bytes::from(seal_tree(&id, sections));
        let prints = Fingerprints::of(payload.len() as u64, whole, params);
        (payload, prints, id)
    }
}
