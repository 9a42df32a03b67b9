//! What an upload found on servers already, leased once more when it is linked.
//!
//! Somebody else of this account may have begun to let go of the very same content before the upload came: his walk did not see the link,
//! and the upload's lease, under the same tag, was there before his walk. A lease renewed after the link is newer than any such walk.

use std::collections::HashSet;
use std::sync::Mutex;

use caps::VerifyHash;

use crate::Client;
use crate::check::lease_all;
use crate::tags::Tag;

/// Objects remembered until they are leased again.
const HELD_MAX: usize = 1 << 18;

/// What was found on servers and not leased again since.
#[derive(Default)]
pub(crate) struct Holds(Mutex<HashSet<(Tag, VerifyHash)>>);

impl Holds {
    fn take(&self) -> Vec<(Tag, VerifyHash)> {
        let held = std::mem::take(&mut *self.0.lock().expect("no code panics while it holds this lock"));
        let mut held: Vec<_> = held.into_iter().collect();
        held.sort_unstable();
        held
    }

    /// Remembers one; says whether there are many.
    fn add(&self, tag: Tag, hash: VerifyHash) -> bool {
        let mut held = self.0.lock().expect("no code panics while it holds this lock");
        held.insert((tag, hash));
        held.len() >= HELD_MAX
    }
}

impl Client {
    /// An upload found this object on servers.
    pub(crate) async fn hold(&self, tag: Tag, hash: VerifyHash) {
        if self.holds().add(tag, hash) {
            self.renew_held().await;
        }
    }

    /// Renews the leases on what uploads found on servers, now that it is linked. [`Client::close`] does so; a process that goes on for
    /// long does it now and then.
    pub async fn renew_held(&self) {
        let held = self.holds().take();
        for of_tag in held.chunk_by(|one, other| one.0 == other.0) {
            let hashes: Vec<VerifyHash> = of_tag.iter().map(|(_, hash)| *hash).collect();
            for failure in lease_all(self, of_tag[0].0, None, &hashes).await.failures {
                tracing::info!(failure, "leases on what was there already were not renewed");
            }
        }
    }
}
