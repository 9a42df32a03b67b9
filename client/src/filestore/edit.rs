//! Changes of a directory, as functions of what is there.

use std::collections::BTreeMap;
use std::time::Duration;

use caps::{SlotWrite, VerifyHash};
use encoding::Sections;
use encoding::directory::{
    Entry, EntryKind, Mutability, Name, NodeRef, OperationId, SlotContent, SlotDirectory, Time,
};

use super::child::Child;
use super::error::FileStoreError;
use super::nodes::DirNodes;
use super::trace::Trace;
use crate::Client;
use crate::directory::Tree;
use crate::slot::{Edit, SlotBase};
use crate::tags::slot_tag;

/// Beyond so many bytes of both sections the edits are folded into the tree, so that a slot of a large directory stays within 16 KiB.
const FOLD_LEN: usize = 15_000;

/// What to do about an entry of the same name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Replace {
    /// Refuse.
    No,
    /// Replace it unless it is a directory; a directory replaces nothing.
    #[default]
    OnlyFiles,
    /// Replace it whatever it is.
    Yes,
}

/// One change of a directory.
#[derive(Clone, Debug)]
pub enum DirEdit {
    /// Link a child under a name.
    Link {
        /// The name.
        name: Name,
        /// The child.
        child: Box<Child>,
        /// What to do about one that is there.
        replace: Replace,
    },
    /// Link a child in the place of another.
    Swap {
        /// The name.
        name: Name,
        /// The child.
        child: Box<Child>,
        /// Only if the entry still names this: then a change by somebody else is not undone unseen.
        only: caps::Cap,
    },
    /// Link a child where everything is as it was when that was last looked at.
    LinkAs {
        /// The name.
        name: Name,
        /// The child.
        child: Box<Child>,
        /// Only if this is the entry, metadata and all; `None`: only if there is none.
        before: Option<Box<Entry>>,
    },
    /// Take an entry out.
    Unlink {
        /// The name.
        name: Name,
        /// Only if the entry still names this: then a change by somebody else is not undone unseen.
        only: Option<caps::Cap>,
    },
    /// Give an entry another name, in one step.
    Rename {
        /// The name it has.
        from: Name,
        /// The name it gets.
        to: Name,
        /// What to do about one that is there.
        replace: Replace,
    },
}

/// What a change did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edited {
    /// What was there under the name that was linked, unlinked or renamed to.
    pub before: Option<Entry>,
}

/// Why a change was not made, given what is there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// An entry of this name is there.
    #[error("{name} is there already")]
    Exists {
        /// The name.
        name: String,
    },
    /// A directory of this name is there, and only files may be replaced.
    #[error("{name} is a directory: it is not replaced by something else")]
    IsDirectory {
        /// The name.
        name: String,
    },
    /// Something of this name is there that is no directory, and a directory does not replace it.
    #[error("{name} is not a directory: it is not replaced by one")]
    IsFile {
        /// The name.
        name: String,
    },
    /// No entry of this name is there.
    #[error("there is no {name}")]
    NoEntry {
        /// The name.
        name: String,
    },
    /// The entry names something else by now.
    #[error("{name} was replaced by somebody else meanwhile")]
    Replaced {
        /// The name.
        name: String,
    },
    /// No directory may hold such an entry.
    #[error("{reason}")]
    Entry {
        /// Why.
        reason: String,
    },
}

pub(super) type Outcome = Result<Edited, Refusal>;

/// Several changes of one directory, made in one round. Each succeeds or is refused by itself.
pub(super) struct Batch {
    client: Client,
    cap: SlotWrite,
    edits: Vec<DirEdit>,
    now: Time,
    /// Names this batch; the last four bytes count attempts, so that it is known which of them came to pass.
    operation: [u8; 12],
    attempts: Vec<Vec<Outcome>>,
    /// The nodes that each attempt replaced.
    replaced: Vec<Vec<VerifyHash>>,
    /// The attempt whose outcomes count.
    pub(super) chosen: Option<usize>,
}

impl Batch {
    pub(super) fn new(client: &Client, cap: &SlotWrite, edits: Vec<DirEdit>) -> Self {
        Self {
            client: client.clone(),
            cap: cap.clone(),
            edits,
            now: time_of(client.now()),
            operation: client.random().bytes(),
            attempts: Vec::new(),
            replaced: Vec::new(),
            chosen: None,
        }
    }

    /// The attempt that came to pass.
    fn done(&self) -> usize {
        self.chosen.unwrap_or(self.attempts.len().saturating_sub(1))
    }

    /// The nodes that the change replaced, once it came to pass: a quorum holds a record that does not reach them, and so does no later one.
    pub(super) fn take_replaced(&mut self) -> Vec<VerifyHash> {
        let done = self.done();
        self.replaced.get_mut(done).map(std::mem::take).unwrap_or_default()
    }

    /// What became of each edit, once the slot was changed.
    pub(super) fn into_outcomes(mut self) -> Vec<Outcome> {
        let chosen = self.done();
        self.attempts.drain(..).nth(chosen).unwrap_or_default()
    }

    fn id(&self, attempt: usize) -> OperationId {
        let mut id = [0; 16];
        id[..12].copy_from_slice(&self.operation);
        id[12..].copy_from_slice(&(attempt as u32).to_le_bytes());
        id
    }

    fn done_already(&self, directory: &SlotDirectory) -> Option<usize> {
        let mine = directory.operations.iter().find(|id| id[..12] == self.operation)?;
        let attempt = u32::from_le_bytes([mine[12], mine[13], mine[14], mine[15]]) as usize;
        (attempt < self.attempts.len()).then_some(attempt)
    }
}

impl Edit for Batch {
    type Refusal = FileStoreError;

    async fn apply(&mut self, base: &SlotBase) -> Result<Option<Sections>, FileStoreError> {
        let content = SlotContent::parse(&base.sections)?;
        let mut directory = content.into_directory()?;
        if let Some(attempt) = self.done_already(&directory) {
            self.chosen = Some(attempt);
            return Ok(None);
        }
        self.chosen = None;
        let (tag, trace) = (Some(slot_tag(&self.cap.hash)), Trace::default());
        let nodes = DirNodes::new(&self.client, Mutability::Mutable);
        let nodes = DirNodes { lease_tag: tag, trace: Some(trace.clone()), ..nodes };
        let old = directory.base.clone();
        let mut changing = Changing {
            tree: Tree::new(nodes),
            directory: &mut directory,
            batch: self,
            salt: base.record.id.salt,
        };
        let mut outcomes = Vec::with_capacity(self.edits.len());
        for edit in &self.edits {
            outcomes.push(changing.one(edit).await?);
        }
        let tree = changing.tree;
        let changed = outcomes.iter().any(Result::is_ok);
        let attempt = self.attempts.len();
        self.attempts.push(outcomes);
        self.replaced.push(Vec::new());
        if !changed {
            return Ok(None);
        }
        let id = self.id(attempt);
        let (sections, new) = folded(directory, id, &tree).await?;
        self.replaced[attempt] = trace.replaced(old.as_ref(), new.as_ref());
        Ok(Some(sections))
    }
}

/// The sections of a changed directory, its edits folded into the tree where they are many, and the root of that.
async fn folded(
    mut directory: SlotDirectory,
    id: OperationId,
    tree: &Tree<DirNodes>,
) -> Result<(Sections, Option<NodeRef>), FileStoreError> {
    for fold in [false, true] {
        if fold {
            let edits = std::mem::take(&mut directory.edits);
            directory.base = tree.apply(directory.base.as_ref(), edits).await?;
        }
        let base = directory.base.clone();
        let mut content = SlotContent::Directory(directory);
        if !fold {
            content.remember(id);
        }
        let sections = content.to_sections();
        if sections.a.len() + sections.b.len() <= FOLD_LEN {
            return Ok((sections, base));
        }
        directory = content.into_directory()?;
    }
    let base = directory.base.clone();
    Ok((SlotContent::Directory(directory).to_sections(), base))
}

/// A directory while a batch is applied to it.
struct Changing<'b> {
    tree: Tree<DirNodes>,
    directory: &'b mut SlotDirectory,
    batch: &'b Batch,
    salt: [u8; 32],
}

impl Changing<'_> {
    async fn one(&mut self, edit: &DirEdit) -> Result<Outcome, FileStoreError> {
        match edit {
            DirEdit::Link { name, child, replace } => self.link(name, child, *replace).await,
            DirEdit::Swap { name, child, only } => self.swap(name, child, only).await,
            DirEdit::LinkAs { name, child, before } => self.link_as(name, child, before.as_deref()).await,
            DirEdit::Unlink { name, only } => self.unlink(name, only.as_ref()).await,
            DirEdit::Rename { from, to, replace } => self.rename(from, to, *replace).await,
        }
    }

    async fn link(
        &mut self,
        name: &Name,
        child: &Child,
        replace: Replace,
    ) -> Result<Outcome, FileStoreError> {
        let before = self.find(name).await?;
        // The very same is there: a retry whose first attempt came to pass, or somebody who did the same.
        let same = before.as_ref().is_some_and(|before| before.cap == child.caps.read);
        if let (false, Err(refusal)) = (same, may_replace(name, before.as_ref(), child.kind, replace)) {
            return Ok(Err(refusal));
        }
        let mut entry = match child.entry_in(&self.batch.client, &self.batch.cap, &self.salt) {
            Ok(entry) => entry,
            Err(error) => return Ok(Err(Refusal::Entry { reason: error.to_string() })),
        };
        let created = before.as_ref().and_then(|before| before.metadata.link_created);
        entry.metadata.link_created = Some(created.unwrap_or(self.batch.now));
        entry.metadata.link_modified = Some(self.batch.now);
        self.set(name, Some(entry));
        Ok(Ok(Edited { before }))
    }

    async fn swap(
        &mut self,
        name: &Name,
        child: &Child,
        only: &caps::Cap,
    ) -> Result<Outcome, FileStoreError> {
        match self.find(name).await? {
            Some(before) if names(&before, only) => self.link(name, child, Replace::Yes).await,
            Some(_) => Ok(Err(Refusal::Replaced { name: name.to_string() })),
            None => Ok(Err(Refusal::NoEntry { name: name.to_string() })),
        }
    }

    async fn link_as(
        &mut self,
        name: &Name,
        child: &Child,
        before: Option<&Entry>,
    ) -> Result<Outcome, FileStoreError> {
        let there = self.find(name).await?;
        if there.as_ref() == before {
            return self.link(name, child, Replace::Yes).await;
        }
        let name = name.to_string();
        Ok(Err(match (there, before) {
            (None, _) => Refusal::NoEntry { name },
            (Some(_), None) => Refusal::Exists { name },
            (Some(_), Some(_)) => Refusal::Replaced { name },
        }))
    }

    async fn unlink(&mut self, name: &Name, only: Option<&caps::Cap>) -> Result<Outcome, FileStoreError> {
        let Some(before) = self.find(name).await? else {
            return Ok(Err(Refusal::NoEntry { name: name.to_string() }));
        };
        if only.is_some_and(|cap| !names(&before, cap)) {
            return Ok(Err(Refusal::Replaced { name: name.to_string() }));
        }
        self.set(name, None);
        Ok(Ok(Edited { before: Some(before) }))
    }

    async fn rename(&mut self, from: &Name, to: &Name, replace: Replace) -> Result<Outcome, FileStoreError> {
        let Some(mut entry) = self.find(from).await? else {
            return Ok(Err(Refusal::NoEntry { name: from.to_string() }));
        };
        let before = self.find(to).await?;
        if from == to {
            return Ok(Ok(Edited { before }));
        }
        if let Err(refusal) = may_replace(to, before.as_ref(), entry.kind, replace) {
            return Ok(Err(refusal));
        }
        entry.metadata.link_modified = Some(self.batch.now);
        self.set(from, None);
        self.set(to, Some(entry));
        Ok(Ok(Edited { before }))
    }

    async fn find(&self, name: &Name) -> Result<Option<Entry>, FileStoreError> {
        match self.directory.edits.get(name) {
            Some(edit) => Ok(edit.clone()),
            None => self.tree.get(self.directory.base.as_ref(), name).await,
        }
    }

    fn set(&mut self, name: &Name, entry: Option<Entry>) {
        let edits: &mut BTreeMap<Name, Option<Entry>> = &mut self.directory.edits;
        if entry.is_none() && self.directory.base.is_none() {
            edits.remove(name);
        } else {
            edits.insert(name.clone(), entry);
        }
    }
}

/// Whether the entry names what the cap does.
fn names(entry: &Entry, cap: &caps::Cap) -> bool {
    cap.read().as_ref() == Some(&entry.cap) || *cap == entry.cap
}

fn may_replace(name: &Name, before: Option<&Entry>, by: EntryKind, replace: Replace) -> Result<(), Refusal> {
    let name = || name.to_string();
    match (before, replace) {
        (None, _) | (Some(_), Replace::Yes) => Ok(()),
        (Some(_), Replace::No) => Err(Refusal::Exists { name: name() }),
        (Some(before), Replace::OnlyFiles) if before.kind == EntryKind::Directory => {
            Err(Refusal::IsDirectory { name: name() })
        }
        (Some(_), Replace::OnlyFiles) if by == EntryKind::Directory => Err(Refusal::IsFile { name: name() }),
        (Some(_), Replace::OnlyFiles) => Ok(()),
    }
}

pub(crate) fn time_of(since_1970: Duration) -> Time {
    Time { seconds: since_1970.as_secs() as i64, nanoseconds: since_1970.subsec_nanos() }
}
