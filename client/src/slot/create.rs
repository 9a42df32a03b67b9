//! Making a slot.

use std::sync::Arc;

use caps::{SlotWrite, WriteKey};
use encoding::Sections;
use encoding::slot::{Ballot, Config, Member, Record, RecordHash, SignedRecord, SlotKey, usual_quorum};
use tokio::task::JoinSet;

use super::error::{MemberFailure, SlotError};
use super::write::Editing;
use crate::Client;
use crate::placement::Candidate;

/// How often a create is tried with other members: stores may have begun a new incarnation that is not announced yet.
const TRIES: usize = 3;

/// A slot that was made.
#[derive(Clone, Debug)]
pub struct NewSlot {
    /// Its write cap.
    pub cap: SlotWrite,
    /// Its first record.
    pub record: Arc<SignedRecord>,
}

impl Client {
    /// Makes a slot. `content` makes its sections, given its write cap and S, to which sealed write caps are bound.
    ///
    /// # Errors
    ///
    /// [`SlotError::NotHappy`], [`SlotError::Unknown`] (nobody holds its cap then: it may be made again), [`SlotError::Sealed`].
    pub async fn create_slot(
        &self,
        directory: bool,
        content: impl Fn(&SlotWrite, &[u8; 32]) -> Sections + Send,
    ) -> Result<NewSlot, SlotError> {
        self.create_slot_with(directory, move |cap, salt| Ok(content(cap, salt))).await
    }

    /// The same with sections that may turn out impossible: then nothing is made.
    ///
    /// # Errors
    ///
    /// Those of [`Client::create_slot`], and those of `content`.
    pub(crate) async fn create_slot_with<E: From<SlotError>>(
        &self,
        directory: bool,
        content: impl Fn(&SlotWrite, &[u8; 32]) -> Result<Sections, E> + Send,
    ) -> Result<NewSlot, E> {
        let mut last = None;
        for _ in 0..TRIES {
            let write = WriteKey::new(self.random().bytes());
            let salt = self.random().bytes::<32>();
            let bucket = write.read_key().slot_storage_index().placement_bucket();
            let config = self.first_members(self.upload_candidates(bucket)).await?;
            let key = SlotKey::create(&write, salt, &config);
            let cap = key.cap(&write, directory);
            let nonces = self.random().bytes::<48>();
            let sections = content(&cap, &salt)?;
            let sealed = encoding::seal_slot(&write.read_key(), &salt, &cap.hash, &sections, &nonces);
            let payload = sealed.map_err(SlotError::from)?;
            let ballot = Ballot { epoch: 0, counter: 1, random: self.random().bytes() };
            let record = Record {
                id: key.id().clone(),
                ballot,
                config,
                old: None,
                previous: RecordHash::default(),
                tombstone: false,
                forced: false,
                next: None,
                payload,
            };
            let cell = self.slots().cell(&cap.hash);
            match Editing::new(self, &cap, &cell).accept(&key, record).await {
                Ok(record) => return Ok(NewSlot { cap, record }),
                Err(error) => last = Some(error),
            }
        }
        Err(last.expect("it was tried at least once").into())
    }

    /// The first n live stores in order, one of each server; at least `shares_happy`.
    pub(super) async fn first_members(&self, candidates: Vec<Candidate>) -> Result<Config, SlotError> {
        let total = usize::from(self.params().total());
        let mut waiting = candidates.into_iter().enumerate();
        let (mut connecting, mut live, mut failures) = (JoinSet::new(), Vec::new(), Vec::new());
        for (index, candidate) in waiting.by_ref().take(total) {
            connecting.spawn(connect(self.clone(), index, candidate));
        }
        while let Some(done) = connecting.join_next().await {
            match done {
                Ok((index, Ok(member))) => live.push((index, member)),
                Ok((_, Err(failure))) => {
                    failures.push(failure);
                    if let Some((index, candidate)) = waiting.next() {
                        connecting.spawn(connect(self.clone(), index, candidate));
                    }
                }
                Err(_) => {}
            }
        }
        let happy = self.shares_happy();
        if live.len() < happy {
            return Err(SlotError::NotHappy { live: live.len(), wanted: happy, failures });
        }
        live.sort_by_key(|(index, _)| *index);
        let members: Vec<Member> = live.into_iter().map(|(_, member)| member).collect();
        let quorum = usual_quorum(members.len(), happy);
        Ok(Config { members, quorum })
    }
}

/// A candidate's first store as a member, if its server can be reached.
async fn connect(
    client: Client,
    index: usize,
    candidate: Candidate,
) -> (usize, Result<Member, MemberFailure>) {
    let server = client.grid().server(&candidate.server);
    let fail = |reason: String| MemberFailure::new(candidate.server, server.name(), reason);
    let found = candidate.stores.iter().find_map(|id| server.stores.iter().find(|store| store.id == *id));
    let Some(store) = found.copied() else {
        return (index, Err(fail("it announces no store".to_owned())));
    };
    if client.failed_lately(&server.id) {
        return (index, Err(fail("it failed a moment ago".to_owned())));
    }
    let member = Member { store: *store.id.as_bytes(), incarnation: store.incarnation };
    let reached = client.writers().session(&server).await;
    (index, reached.map(|_| member).map_err(|error| fail(error.to_string())))
}
