//! The newest valid announcement of each server, within bounds.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use protocol::NodeId;
use protocol::announcement::{Announcement, AnnouncementError, Signed};
use protocol::message::{ErrorCode, WireError};

/// How much an introducer takes on.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// Servers it remembers.
    pub servers: usize,
    /// Bytes of announcements it remembers.
    pub bytes: usize,
    /// Connections it has at once.
    pub connections: usize,
    /// How far ahead an announcement's end may lie, so that one that is not renewed is forgotten some day.
    pub lifetime: Duration,
    /// Grids whose memberships it keeps.
    pub grids: usize,
    /// Only these owners may publish and invite; empty: whoever comes first.
    pub owners: Vec<NodeId>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            servers: 10_000,
            bytes: 64 << 20,
            connections: 4_096,
            lifetime: Duration::from_secs(7 * DAY_S),
            grids: 16,
            owners: Vec::new(),
        }
    }
}

/// Why an announcement is not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AnnounceError {
    /// It is not to be believed.
    #[error(transparent)]
    Invalid(#[from] AnnouncementError),
    /// Somebody else announces the server.
    #[error("server {announced} was announced by {connected}: only a server itself may do that")]
    Foreign {
        /// Whom the announcement is about.
        announced: NodeId,
        /// Who brought it.
        connected: NodeId,
    },
    /// It would be good for too long.
    #[error("the announcement is good for more than {} days", max.as_secs() / DAY_S)]
    TooLasting {
        /// How long it may be good for.
        max: Duration,
    },
    /// There is no room for another server.
    #[error("this introducer already knows {known} servers")]
    Full {
        /// How many it knows.
        known: usize,
    },
    /// It could not be made durable.
    #[error("the announcement could not be kept")]
    Keep(#[source] io::Error),
}

impl From<&AnnounceError> for WireError {
    fn from(error: &AnnounceError) -> Self {
        let code = match error {
            AnnounceError::Invalid(_) | AnnounceError::Foreign { .. } | AnnounceError::TooLasting { .. } => {
                ErrorCode::BadAnnouncement
            }
            AnnounceError::Full { .. } => ErrorCode::Busy,
            AnnounceError::Keep(_) => ErrorCode::StoreFailed,
        };
        Self::new(code, error.to_string())
    }
}

#[derive(Debug, Default)]
pub(crate) struct Registry {
    servers: BTreeMap<NodeId, Known>,
    bytes: usize,
    /// Grows with every change, so that whoever saves knows what is saved.
    generation: u64,
}

#[derive(Debug)]
struct Known {
    sequence: u64,
    expires_s: u64,
    signed: Arc<Signed>,
}

impl Registry {
    /// Takes an announcement that was opened. Returns it if it is news, `None` if it is the one already known.
    pub(crate) fn insert(
        &mut self,
        announcement: &Announcement,
        signed: Signed,
        now: Duration,
        limits: &Limits,
    ) -> Result<Option<Arc<Signed>>, AnnounceError> {
        let server = announcement.server;
        let known = self.servers.get(&server);
        match known {
            Some(known) if *known.signed == signed => return Ok(None),
            Some(known) if announcement.sequence <= known.sequence => {
                return Err(AnnouncementError::Replayed { server }.into());
            }
            _ => {}
        }
        let freed = known.map_or(0, |known| size(&known.signed));
        let is_new = known.is_none();
        let fits = |this: &Self| {
            this.servers.len() + usize::from(is_new) <= limits.servers
                && this.bytes - freed + size(&signed) <= limits.bytes
        };
        if !fits(self) {
            self.forget_expired(now, Duration::ZERO, Some(server));
            if !fits(self) {
                return Err(AnnounceError::Full { known: self.servers.len() });
            }
        }
        self.remove(&server);
        self.bytes += size(&signed);
        self.generation += 1;
        let signed = Arc::new(signed);
        let (sequence, expires_s) = (announcement.sequence, announcement.expires_s);
        self.servers.insert(server, Known { sequence, expires_s, signed: signed.clone() });
        Ok(Some(signed))
    }

    /// Forgets what expired more than `grace` ago, `except` one server. Returns whether there was any.
    pub(crate) fn forget_expired(&mut self, now: Duration, grace: Duration, except: Option<NodeId>) -> bool {
        let past = now.saturating_sub(grace).as_secs();
        let stale = |(id, known): &(&NodeId, &Known)| known.expires_s < past && Some(**id) != except;
        let stale: Vec<NodeId> = self.servers.iter().filter(stale).map(|(id, _)| *id).collect();
        for id in &stale {
            self.remove(id);
        }
        self.generation += u64::from(!stale.is_empty());
        !stale.is_empty()
    }

    fn remove(&mut self, id: &NodeId) {
        if let Some(known) = self.servers.remove(id) {
            self.bytes -= size(&known.signed);
        }
    }

    /// Those that have not expired, in the order of their keys.
    pub(crate) fn live(&self, now: Duration) -> Vec<Arc<Signed>> {
        let live = self.servers.values().filter(|known| known.expires_s >= now.as_secs());
        live.map(|known| known.signed.clone()).collect()
    }

    /// All of them, and the generation they are of.
    pub(crate) fn all(&self) -> (u64, Vec<Arc<Signed>>) {
        (self.generation, self.servers.values().map(|known| known.signed.clone()).collect())
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }
}

/// Bytes of an announcement in memory and in a message, at most.
pub(crate) fn size(signed: &Signed) -> usize {
    signed.payload.len() + signed.signature.len() + 16
}

const DAY_S: u64 = 24 * 60 * 60;
