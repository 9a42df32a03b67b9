//! An object that was found: what its shares are and where. No key is needed for as much.

use std::sync::{Arc, Mutex};

use caps::{ImmutableRead, ImmutableVerify, PlacementBucket, RepairCap, RepairKind, VerifyHash};
use encoding::{Descriptor, Geometry, Kind};
use protocol::message::Bytes32;

use super::error::{Complaint, DownloadError};
use super::holdings::Holdings;
use super::lock;
use super::search::Search;
use super::table::Table;
use crate::Client;

/// Where to look for an object, and how many of its shares suffice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ObjectRef {
    pub(crate) hash: VerifyHash,
    pub(crate) bucket: PlacementBucket,
    pub(crate) needed: u16,
    pub(crate) total: u16,
}

impl From<&ImmutableRead> for ObjectRef {
    fn from(cap: &ImmutableRead) -> Self {
        Self { hash: cap.hash, bucket: cap.placement_bucket(), needed: cap.needed, total: cap.total }
    }
}

impl From<&ImmutableVerify> for ObjectRef {
    fn from(cap: &ImmutableVerify) -> Self {
        let bucket = cap.storage_index.placement_bucket();
        Self { hash: cap.hash, bucket, needed: cap.needed, total: cap.total }
    }
}

impl ObjectRef {
    /// The object that a repair cap names; `None` if that is a slot.
    pub(crate) fn of_repair(cap: &RepairCap) -> Option<Self> {
        match cap.kind {
            RepairKind::Immutable { needed, total, .. } => {
                Some(Self { hash: cap.hash, bucket: cap.bucket, needed, total })
            }
            RepairKind::Slot { .. } => None,
        }
    }
}

/// An object whose descriptor is verified, and of which enough shares are known.
pub(crate) struct Object {
    pub(crate) client: Client,
    pub(crate) hash: Bytes32,
    pub(crate) descriptor: Descriptor,
    pub(crate) holdings: Mutex<Holdings>,
    pub(crate) search: tokio::sync::Mutex<Search>,
    pub(crate) table: Table,
    pub(crate) complaints: Mutex<Vec<Complaint>>,
}

impl Object {
    /// Looks for k shares.
    ///
    /// # Errors
    ///
    /// [`DownloadError`].
    pub(crate) async fn find(client: Client, object: ObjectRef) -> Result<Arc<Self>, DownloadError> {
        let mut search = Search::new(&client, object.hash, object.bucket);
        let (holdings, complaints) = (Mutex::new(Holdings::default()), Mutex::default());
        search.until(&client, &holdings, &complaints, object.needed.into()).await;
        let Some(descriptor) = search.descriptor() else {
            return Err(search.not_enough(object.needed, &lock(&holdings)));
        };
        let descriptor = descriptor.clone();
        if lock(&holdings).distinct() < usize::from(object.needed) {
            return Err(search.not_enough(object.needed, &lock(&holdings)));
        }
        let (hash, table) = (Bytes32(*object.hash.as_bytes()), Table::new(descriptor.geometry));
        let search = tokio::sync::Mutex::new(search);
        Ok(Arc::new(Self { client, hash, descriptor, holdings, search, table, complaints }))
    }

    /// An object of which the caller knows the shares.
    pub(crate) fn of(client: &Client, object: ObjectRef, descriptor: Descriptor) -> Arc<Self> {
        Arc::new(Self {
            table: Table::new(descriptor.geometry),
            hash: Bytes32(*object.hash.as_bytes()),
            descriptor,
            holdings: Mutex::default(),
            search: tokio::sync::Mutex::new(Search::new(client, object.hash, object.bucket)),
            client: client.clone(),
            complaints: Mutex::default(),
        })
    }

    pub(crate) fn kind(&self) -> Kind {
        self.descriptor.kind
    }

    pub(crate) fn geometry(&self) -> &Geometry {
        &self.descriptor.geometry
    }

    pub(crate) fn needed(&self) -> u16 {
        self.geometry().params().needed()
    }
}
