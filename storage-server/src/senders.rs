//! Who is sending which share. A client that dies leaves its uploads open until the connection times out; when it comes back before
//! that and offers the same shares again, those that fell silent make way, so that it goes on where it stopped.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use protocol::NodeId;
use protocol::message::Put;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout};

use crate::store::lock;

/// Who has sent nothing for so long makes way for another sender of the same share.
const SILENCE: Duration = Duration::from_secs(2);
/// How long is waited for one that makes way: it may be writing.
const PATIENCE: Duration = Duration::from_secs(2);

/// Store, account, upload id and share number.
type Key = (NodeId, NodeId, [u8; 16], u16);

/// A sender, and what is closed when it is gone.
type Entry = (Arc<Sender>, watch::Receiver<()>);

/// All uploads under way.
#[derive(Default)]
pub(crate) struct Senders(Mutex<HashMap<Key, Entry>>);

/// One of them.
pub(crate) struct Sender {
    heard: Mutex<Instant>,
    make_way: Notify,
}

/// Lists an upload until it is dropped: to be dropped after the upload.
pub(crate) struct Listed<'a> {
    senders: &'a Senders,
    key: Key,
    sender: Arc<Sender>,
    _gone: watch::Sender<()>,
}

fn key(account: &NodeId, put: &Put) -> Key {
    (put.store, *account, put.upload.0, put.number)
}

impl Senders {
    /// Lists an upload that was begun.
    pub(crate) fn list(&self, account: &NodeId, put: &Put) -> Listed<'_> {
        let sender = Arc::new(Sender { heard: Mutex::new(Instant::now()), make_way: Notify::new() });
        let (gone, watched) = watch::channel(());
        let key = key(account, put);
        lock(&self.0).insert(key, (sender.clone(), watched));
        Listed { senders: self, key, sender, _gone: gone }
    }

    /// Makes whoever sends this share give up, if nothing was heard of it lately. Whether it did.
    pub(crate) async fn dislodge(&self, account: &NodeId, put: &Put) -> bool {
        let found = lock(&self.0).get(&key(account, put)).cloned();
        let Some((sender, mut gone)) = found else { return false };
        if lock(&sender.heard).elapsed() < SILENCE {
            return false;
        }
        sender.make_way.notify_one();
        timeout(PATIENCE, gone.changed()).await.is_ok()
    }
}

impl Sender {
    /// Something came.
    pub(crate) fn heard(&self) {
        *lock(&self.heard) = Instant::now();
    }

    /// Returns when this one has to make way.
    pub(crate) async fn must_make_way(&self) {
        self.make_way.notified().await;
    }
}

impl std::ops::Deref for Listed<'_> {
    type Target = Sender;

    fn deref(&self) -> &Sender {
        &self.sender
    }
}

impl Drop for Listed<'_> {
    fn drop(&mut self) {
        let mut senders = lock(&self.senders.0);
        if senders.get(&self.key).is_some_and(|(listed, _)| Arc::ptr_eq(listed, &self.sender)) {
            senders.remove(&self.key);
        }
    }
}
