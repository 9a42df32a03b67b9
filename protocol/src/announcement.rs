//! What a server says of itself: signed, numbered, and good until a date.

use std::time::Duration;

use minicbor::{Decode, Encode};

use crate::identity::{NodeId, NodeKey};
use crate::limits::{MAX_LIST, MAX_TEXT_LEN};
use crate::membership::{Certificate, SignedCertificate};
use crate::message::StoreReport;

const CONTEXT: &str = "sarsen v1 announcement";
const STORE_CONTEXT: &str = "sarsen v1 store binding";

/// An announcement as it travels: the bytes that were signed, and the signature.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Signed {
    /// CBOR of an [`Announcement`].
    #[n(0)]
    #[cbor(with = "minicbor::bytes")]
    pub payload: Vec<u8>,
    /// By the key that the payload names.
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    pub signature: [u8; 64],
}

/// What a server says of itself. Later versions add numbered fields, which older readers skip.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Announcement {
    /// The server's key.
    #[n(0)]
    pub server: NodeId,
    /// Higher than in every earlier announcement of this server.
    #[n(1)]
    pub sequence: u64,
    /// When it was made, in seconds since 1970.
    #[n(2)]
    pub issued_s: u64,
    /// After this many seconds since 1970, introducers drop it. Clients keep what they know (`docs/spec/wire.md`).
    #[n(3)]
    pub expires_s: u64,
    /// Where it listens: `host:port`, best first.
    #[n(4)]
    #[cbor(with = "crate::bounded::short_list")]
    pub addresses: Vec<String>,
    /// What its owner calls it.
    #[n(5)]
    pub nickname: String,
    /// What it shares its fate with: a house, a rack, an owner.
    #[n(6)]
    pub zone: Option<String>,
    /// Its stores.
    #[n(7)]
    #[cbor(with = "crate::bounded::short_list")]
    pub stores: Vec<AnnouncedStore>,
    /// Program and version.
    #[n(8)]
    pub software: String,
    /// The grid owner's word that this server belongs to the grid, where it has it.
    #[n(9)]
    pub certificate: Option<SignedCertificate>,
}

/// A store, and its own word that this server serves it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct AnnouncedStore {
    /// The store's key.
    #[n(0)]
    pub id: NodeId,
    /// New whenever its index is rebuilt or its loss declared.
    #[n(1)]
    pub incarnation: u64,
    /// By the store's key, over the server's key and the incarnation.
    #[n(2)]
    #[cbor(with = "minicbor::bytes")]
    pub binding: [u8; 64],
    /// How it is. The server's word, not the store's.
    #[n(3)]
    pub report: Option<StoreReport>,
    /// Whether it is being drained: it serves what it has and takes nothing new, no slot either.
    #[n(4)]
    #[cbor(default, skip_if = "is_no")]
    pub draining: bool,
}

fn is_no(flag: &bool) -> bool {
    !flag
}

impl AnnouncedStore {
    /// The binding of a store to the server that serves it.
    pub fn new(store: &NodeKey, incarnation: u64, server: &NodeId) -> Self {
        let binding = store.sign(STORE_CONTEXT, &Self::bound(incarnation, server));
        Self { id: store.id(), incarnation, binding, report: None, draining: false }
    }

    fn bound(incarnation: u64, server: &NodeId) -> Vec<u8> {
        [&server.as_bytes()[..], &incarnation.to_le_bytes()].concat()
    }
}

/// Why an announcement is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AnnouncementError {
    /// The signature is not by the key it names.
    #[error("the announcement is not signed by the server it names")]
    Signature,
    /// A store did not sign that this server serves it.
    #[error("store {store} is announced without its own word for it")]
    Binding {
        /// The store.
        store: NodeId,
    },
    /// It cannot be read.
    #[error("the announcement cannot be read")]
    Malformed,
    /// A list or text in it is too long.
    #[error("the announcement's {field} is too long")]
    TooLong {
        /// Which field.
        field: &'static str,
    },
    /// The certificate in it is not signed by the owner it names, or is somebody else's.
    #[error("the announcement of server {server} comes with a certificate that is forged or not its own")]
    Certificate {
        /// The server.
        server: NodeId,
    },
    /// It is past its date.
    #[error("the announcement of server {server} has expired")]
    Expired {
        /// The server.
        server: NodeId,
    },
    /// One at least as new is known.
    #[error("the announcement of server {server} is not newer than the one already known")]
    Replayed {
        /// The server.
        server: NodeId,
    },
}

impl Announcement {
    /// Signs it with the server's key.
    pub fn sign(&self, key: &NodeKey) -> Signed {
        debug_assert_eq!(key.id(), self.server);
        let payload = minicbor::to_vec(self).expect("writing to a Vec cannot fail");
        let signature = key.sign(CONTEXT, &payload);
        Signed { payload, signature }
    }

    /// The certificate that came with it, which is the server's own and well signed, by whatever owner and of whatever date; `None`: there
    /// is none.
    ///
    /// # Errors
    ///
    /// [`AnnouncementError::Certificate`].
    pub fn own_certificate(&self) -> Result<Option<Certificate>, AnnouncementError> {
        let opened = self.certificate.as_ref().map(SignedCertificate::open).transpose();
        match opened {
            Ok(Some(certificate)) if certificate.member != self.server => {
                Err(AnnouncementError::Certificate { server: self.server })
            }
            Ok(opened) => Ok(opened),
            Err(_) => Err(AnnouncementError::Certificate { server: self.server }),
        }
    }

    fn check_bounds(&self) -> Result<(), AnnouncementError> {
        let texts = [&self.nickname, &self.software].into_iter().chain(&self.zone).chain(&self.addresses);
        if texts.into_iter().any(|text| text.len() > MAX_TEXT_LEN || text.chars().any(char::is_control)) {
            return Err(AnnouncementError::TooLong { field: "text" });
        }
        if self.addresses.len() > MAX_LIST || self.stores.len() > MAX_LIST {
            return Err(AnnouncementError::TooLong { field: "list" });
        }
        Ok(())
    }
}

impl Signed {
    /// Reads it and checks every signature and bound, but not its date: that is for whoever knows the time.
    ///
    /// # Errors
    ///
    /// [`AnnouncementError`].
    pub fn open(&self) -> Result<Announcement, AnnouncementError> {
        if self.payload.len() > 64 * 1024 {
            return Err(AnnouncementError::TooLong { field: "payload" });
        }
        let announcement: Announcement =
            crate::frame::decode(&self.payload).map_err(|_| AnnouncementError::Malformed)?;
        announcement.check_bounds()?;
        if !announcement.server.verify(CONTEXT, &self.payload, &self.signature) {
            return Err(AnnouncementError::Signature);
        }
        for store in &announcement.stores {
            let bound = AnnouncedStore::bound(store.incarnation, &announcement.server);
            if !store.id.verify(STORE_CONTEXT, &bound, &store.binding) {
                return Err(AnnouncementError::Binding { store: store.id });
            }
        }
        announcement.own_certificate()?;
        Ok(announcement)
    }

    /// As [`Signed::open`], and refuses one that is past its date at `now` (time since 1970).
    ///
    /// # Errors
    ///
    /// [`AnnouncementError`].
    pub fn open_fresh(&self, now: Duration) -> Result<Announcement, AnnouncementError> {
        let announcement = self.open()?;
        if announcement.expires_s < now.as_secs() {
            return Err(AnnouncementError::Expired { server: announcement.server });
        }
        Ok(announcement)
    }
}
