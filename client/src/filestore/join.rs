//! Changes of one directory that are asked for at the same time travel together.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use caps::{SlotWrite, VerifyHash};
use tokio::sync::oneshot;

use super::edit::{Batch, DirEdit, Edited, Outcome};
use super::error::FileStoreError;
use crate::Client;
use crate::tags::slot_tag;

/// Changes made in one round, at most.
const BATCH_MAX: usize = 4096;
/// Directories whose queues are remembered before idle ones are dropped.
const QUEUES_MAX: usize = 1024;

/// Changes that wait for their directory.
#[derive(Default)]
pub(crate) struct Queues(Mutex<HashMap<QueueKey, Arc<Queue>>>);

/// H and W.
type QueueKey = (VerifyHash, [u8; 16]);

#[derive(Default)]
struct Queue {
    waiting: Mutex<VecDeque<Waiting>>,
    /// Held by the round under way.
    running: tokio::sync::Mutex<()>,
}

struct Waiting {
    edits: Vec<DirEdit>,
    answer: oneshot::Sender<Result<Vec<Outcome>, Arc<FileStoreError>>>,
}

impl Queues {
    /// By the whole cap: a cap that somebody made up of another's H waits by itself.
    fn of(&self, cap: &SlotWrite) -> Arc<Queue> {
        let mut queues = self.0.lock().expect("no code panics while it holds this lock");
        if queues.len() >= QUEUES_MAX {
            queues.retain(|_, queue| Arc::strong_count(queue) > 1);
        }
        queues.entry((cap.hash, *cap.key.expose())).or_default().clone()
    }
}

impl Queue {
    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<Waiting>> {
        self.waiting.lock().expect("no code panics while it holds this lock")
    }

    /// What the next round takes: from one caller at least.
    fn take(&self) -> Vec<Waiting> {
        let mut waiting = self.lock();
        let (mut count, mut taken) = (0, Vec::new());
        while let Some(next) = waiting.front() {
            count += next.edits.len();
            if count > BATCH_MAX && !taken.is_empty() {
                break;
            }
            taken.extend(waiting.pop_front());
        }
        taken
    }
}

impl Client {
    /// Changes a directory. All changes are made in one round, together with whatever else this process wants of the directory just
    /// then; each is made or refused by itself.
    ///
    /// # Errors
    ///
    /// [`FileStoreError`]; what was refused stands among the outcomes, in the order of `edits`.
    pub async fn edit_directory(
        &self,
        cap: &SlotWrite,
        edits: Vec<DirEdit>,
    ) -> Result<Vec<Result<Edited, super::Refusal>>, FileStoreError> {
        let (sender, mut receiver) = oneshot::channel();
        let queue = self.queues().of(cap);
        queue.lock().push_back(Waiting { edits, answer: sender });
        let (client, cap) = (self.clone(), cap.clone());
        let running = queue.clone();
        // A task of its own: whoever stops waiting must not stop the others' changes.
        let round = tokio::spawn(async move {
            let _round = running.running.lock().await;
            let taken = running.take();
            if !taken.is_empty() {
                client.round(&cap, taken).await;
            }
        });
        let answer = tokio::select! {
            biased;
            answer = &mut receiver => answer,
            _ = round => receiver.await,
        };
        match answer {
            Ok(Ok(outcomes)) => Ok(outcomes),
            Ok(Err(error)) => Err(Arc::try_unwrap(error).unwrap_or_else(shared)),
            Err(_) => Err(FileStoreError::GivenUp),
        }
    }

    /// One change of a directory.
    ///
    /// # Errors
    ///
    /// [`FileStoreError`], [`FileStoreError::Refused`] among them.
    pub async fn edit_entry(&self, cap: &SlotWrite, edit: DirEdit) -> Result<Edited, FileStoreError> {
        let outcome = self.edit_directory(cap, vec![edit]).await?.pop();
        Ok(outcome.ok_or(FileStoreError::GivenUp)??)
    }

    async fn round(&self, cap: &SlotWrite, taken: Vec<Waiting>) {
        let (edits, answers): (Vec<_>, Vec<_>) =
            taken.into_iter().map(|waiting| (waiting.edits, waiting.answer)).unzip();
        let lens: Vec<usize> = edits.iter().map(Vec::len).collect();
        let mut batch = Batch::new(self, cap, edits.into_iter().flatten().collect());
        match self.edit_slot(cap, &mut batch).await {
            Ok(_) => {
                self.superseded().add(self.now(), slot_tag(&cap.hash), batch.take_replaced());
                let mut outcomes = batch.into_outcomes().into_iter();
                for (answer, len) in answers.into_iter().zip(lens) {
                    // Whoever no longer waits does not learn of it.
                    let _ = answer.send(Ok(outcomes.by_ref().take(len).collect()));
                }
            }
            Err(error) => {
                let error = Arc::new(FileStoreError::from(error));
                for answer in answers {
                    let _ = answer.send(Err(error.clone()));
                }
            }
        }
    }
}

/// One failure of a round that several waited for: each gets what can be told twice.
fn shared(error: Arc<FileStoreError>) -> FileStoreError {
    match &*error {
        FileStoreError::Slot(error) => FileStoreError::Slot(error.clone()),
        FileStoreError::Refused(refusal) => FileStoreError::Refused(refusal.clone()),
        FileStoreError::Directory(error) => FileStoreError::Directory(error.clone()),
        other => {
            tracing::debug!(error = other as &dyn std::error::Error, "a round of changes failed");
            FileStoreError::Round { reason: other.to_string() }
        }
    }
}
