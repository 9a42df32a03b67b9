//! The calls.

mod content;
mod namespace;

pub(crate) use content::content_of;
pub(crate) use namespace::check_changeable;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, Weak};
use std::time::Duration;

use caps::Cap;
use client::Client;
use client::filestore::{Child, FileStoreError};
use encoding::directory::Name;
use protocol::{Clock, Random};
use tokio::sync::Notify;

use crate::blocks::Blocks;
use crate::cache::DiskCache;
use crate::error::FsError;
use crate::journal::{Journal, JournalError};
use crate::state::State;
use crate::types::{Ino, OpenMode, Owner};

/// When `fsync` may return.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Durable {
    /// When the grid has it: `shares_happy` servers made it durable.
    #[default]
    Grid,
    /// When it is in the journal on this machine's disk.
    Local,
}

/// How a mount behaves.
#[derive(Clone)]
pub struct Options {
    /// Refuse every change.
    pub read_only: bool,
    /// Whose the entries are that do not say.
    pub owner: Owner,
    /// When `fsync` may return.
    pub durable: Durable,
    /// For so long what a folder says is believed without asking again.
    pub believe: Duration,
    /// So long a change waits for others that may travel with it.
    pub linger: Duration,
    /// A call that the grid has not answered by then fails.
    pub timeout: Duration,
    /// Bytes of files that the grid does not have yet, at most: whoever writes more waits.
    pub dirty_max: u64,
    /// Bytes of memory for what was read.
    pub memory: u64,
    /// Bytes on this machine's disk for what was read, in the folder of the journal; 0: none.
    pub cache: u64,
    /// Folder of the journal and its key; `None`: what is not on the grid is lost with the process.
    pub journal: Option<(PathBuf, [u8; 32])>,
    /// This machine's name, for copies of what others changed at the same time.
    pub host: String,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            read_only: false,
            owner: Owner { uid: 0, gid: 0 },
            durable: Durable::Grid,
            believe: Duration::from_secs(1),
            linger: Duration::from_millis(300),
            timeout: Duration::from_secs(60),
            dirty_max: 256 * 1024 * 1024,
            memory: 256 * 1024 * 1024,
            cache: 0,
            journal: None,
            host: "somewhere".into(),
        }
    }
}

/// What is told when others changed something that whoever asks may remember. Called from tasks, and must not wait for calls.
pub trait Kernel: Send + Sync {
    /// A name leads to something else.
    fn forget_name(&self, folder: Ino, name: &str);
    /// The content or the attributes are others.
    fn forget_content(&self, ino: Ino);
}

/// An open file or folder.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Handle(pub u64);

/// A mounted directory of the grid. Clones are the same mount.
#[derive(Clone)]
pub struct Mount(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    /// Itself, for tasks that outlive a call.
    pub(crate) me: Weak<Self>,
    pub(crate) client: Client,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) options: Options,
    state: Mutex<State>,
    opened: Mutex<Opened>,
    pub(crate) blocks: Arc<Blocks>,
    /// One round of sending at a time.
    pub(crate) sending: tokio::sync::Mutex<()>,
    /// There is something to be sent.
    pub(crate) wake: Notify,
    /// Something was sent: whoever waits for room looks again.
    pub(crate) sent: Notify,
    pub(crate) kernel: OnceLock<Arc<dyn Kernel>>,
    lost: AtomicBool,
    background: Mutex<Option<tokio::task::JoinHandle<()>>>,
    /// How much room there was when that was asked last.
    room: tokio::sync::Mutex<Option<(tokio::time::Instant, crate::types::Room)>>,
}

#[derive(Default)]
struct Opened {
    next: u64,
    files: HashMap<u64, (Ino, OpenMode)>,
    /// The names that a folder had when it was opened.
    folders: HashMap<u64, (Ino, Arc<Vec<Name>>)>,
}

/// Why a mount could not begin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MountError {
    /// The directory cannot be read.
    #[error(transparent)]
    Grid(#[from] FileStoreError),
    /// The journal cannot be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

impl Mount {
    /// Mounts the directory that `root` names. What an earlier mount of it left in its journal is taken up again. Must be called within
    /// a tokio runtime.
    ///
    /// # Errors
    ///
    /// [`MountError`].
    pub async fn start(
        client: &Client,
        root: &Cap,
        (clock, random): (Arc<dyn Clock>, Arc<dyn Random>),
        options: Options,
    ) -> Result<Self, MountError> {
        let client = client.under(root);
        let view = client.open_directory(root).await?;
        let read_only = options.read_only || view.writer().is_none();
        let child = Child::new(root.clone(), view.salt())?;
        let mut state = State::new(child, options.owner, read_only);
        state.host.clone_from(&options.host);
        if let Some((dir, key)) = options.journal.as_ref().filter(|_| !read_only) {
            let (journal, records) = Journal::open(dir, key, random.bytes())?;
            let count = records.len();
            state.replay(records);
            state.keep_in(journal);
            if count > 0 {
                tracing::info!(records = count, folders = state.owing.len(), "the journal is taken up again");
            }
        }
        let inner = |me: &Weak<Inner>| Inner {
            me: me.clone(),
            blocks: Arc::new(Blocks::new(options.memory, disk_cache(&options))),
            client,
            clock,
            options,
            state: Mutex::new(state),
            opened: Mutex::default(),
            sending: tokio::sync::Mutex::default(),
            wake: Notify::new(),
            sent: Notify::new(),
            kernel: OnceLock::new(),
            lost: AtomicBool::new(false),
            background: Mutex::default(),
            room: tokio::sync::Mutex::default(),
        };
        let mount = Self(Arc::new_cyclic(inner));
        tokio::spawn(crate::sync::keep(Arc::downgrade(&mount.0)));
        let background = tokio::spawn(crate::sync::run(Arc::downgrade(&mount.0)));
        *mount.0.background.lock().expect("nobody panics while holding it") = Some(background);
        Ok(mount)
    }

    /// Whom to tell of changes by others.
    pub fn tell(&self, kernel: Arc<dyn Kernel>) {
        let _ = self.0.kernel.set(kernel);
    }

    /// Sends all that is owed to the grid, waiting at most `patience`; then the mount does nothing more. What could not be sent is in
    /// the journal, if there is one. How many names it is.
    pub async fn stop(&self, patience: Duration) -> usize {
        if tokio::time::timeout(patience, self.0.sync_all()).await.is_err() {
            tracing::warn!("not all that was written is on the grid");
        }
        let background = self.0.background.lock().expect("nobody panics while holding it").take();
        if let Some(background) = background {
            background.abort();
        }
        let mut state = self.0.state();
        let left = state.owed_names();
        // Where nothing is owed, nothing is kept; where something is, all of it, what went past the journal too.
        let kept = state.begin_journal_anew().is_ok() && self.0.options.journal.is_some();
        self.0.lost.store(left > 0 && !kept, Ordering::Relaxed);
        left
    }

    /// Whether some of what could not be sent when it was stopped is not in the journal either.
    pub fn is_lossy(&self) -> bool {
        self.0.lost.load(Ordering::Relaxed)
    }

    /// Whether nothing can be changed: that was asked for, or the capability only reads.
    pub fn is_read_only(&self) -> bool {
        self.0.state().read_only
    }

    /// How many names the grid does not know yet.
    pub fn owed(&self) -> usize {
        self.0.state().owed_names()
    }
}

/// The cache on disk, if there is to be one. Without it everything works all the same.
fn disk_cache(options: &Options) -> Option<DiskCache> {
    let (dir, key) = options.journal.as_ref().filter(|_| options.cache > 0)?;
    let opened = DiskCache::open(&dir.join("cache"), key, options.cache);
    opened.inspect_err(|error| tracing::warn!(%error, "there is no cache on disk")).ok()
}

impl Inner {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no code panics while it holds this lock")
    }

    fn opened(&self) -> MutexGuard<'_, Opened> {
        self.opened.lock().expect("no code panics while it holds this lock")
    }

    /// Waits for the grid, and not for ever.
    pub(crate) async fn in_time<T>(
        &self,
        work: impl Future<Output = Result<T, FsError>>,
    ) -> Result<T, FsError> {
        tokio::time::timeout(self.options.timeout, work).await.unwrap_or(Err(FsError::TimedOut))
    }

    pub(crate) fn now(&self) -> encoding::directory::Time {
        crate::attr::time_of(self.clock.unix_time())
    }

    pub(crate) fn tell_name(&self, folder: Ino, name: &Name) {
        if let Some(kernel) = self.kernel.get() {
            kernel.forget_name(folder, name.as_str());
        }
    }

    pub(crate) fn tell_content(&self, ino: Ino) {
        if let Some(kernel) = self.kernel.get() {
            kernel.forget_content(ino);
        }
    }
}
