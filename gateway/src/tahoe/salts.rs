//! Salts of what was stored a moment ago. Whoever links it next, as every client of Tahoe's does, need not have them asked for.

use std::collections::HashMap;
use std::sync::Mutex;

use caps::{Cap, VerifyHash};
use client::Client;
use client::filestore::Child;
use encoding::directory::{ChildCaps, Entry, Mutability};
use tokio::task::JoinSet;

use super::answer::Problem;

/// Salts remembered before all are forgotten.
const MAX: usize = 64 * 1024;
/// Salts asked for at a time.
const AT_ONCE: usize = 32;

/// What is remembered: of each H the salt, or that there is none.
#[derive(Default)]
pub(super) struct Salts(Mutex<HashMap<VerifyHash, Option<[u8; 32]>>>);

impl Salts {
    pub(super) fn remember(&self, child: &Child) {
        let Some(hash) = child.caps.read.verify_hash() else { return };
        let mut known = self.0.lock().expect("no code panics while it holds this lock");
        if known.len() >= MAX {
            known.clear();
        }
        known.insert(hash, child.salt);
    }

    fn known(&self, cap: &Cap) -> Option<Option<[u8; 32]>> {
        let Some(hash) = cap.verify_hash() else { return Some(None) };
        self.0.lock().expect("no code panics while it holds this lock").get(&hash).copied()
    }

    /// A child of caps as Tahoe's clients give them: one said to write, one said to read.
    pub(super) async fn child(
        &self,
        client: &Client,
        write: Option<Cap>,
        read: Option<Cap>,
        mutability: Mutability,
    ) -> Result<Child, Problem> {
        let caps =
            ChildCaps::new(write, read, mutability).map_err(|error| Problem::bad(error.to_string()))?;
        let kind = Entry::kind_of(&caps.read);
        let salt = match self.known(&caps.read) {
            Some(salt) => salt,
            None => {
                let found = client.child_of(caps.read.clone()).await?;
                self.remember(&found);
                found.salt
            }
        };
        Ok(Child { caps, kind, salt, metadata: Default::default() })
    }

    /// Asks for those that are not known, several at a time, so that [`Salts::child`] then knows them.
    pub(super) async fn learn(&self, client: &Client, caps: Vec<Cap>) {
        let mut tasks = JoinSet::new();
        for cap in caps {
            if self.known(&cap).is_some() {
                continue;
            }
            if tasks.len() >= AT_ONCE {
                self.take(tasks.join_next().await);
            }
            let client = client.clone();
            tasks.spawn(async move { client.child_of(cap).await.ok() });
        }
        while !tasks.is_empty() {
            self.take(tasks.join_next().await);
        }
    }

    fn take(&self, found: Option<Result<Option<Child>, tokio::task::JoinError>>) {
        if let Some(Ok(Some(child))) = found {
            self.remember(&child);
        }
    }
}
