//! An agent's files, in the directory of the client under whose account it works.
//!
//! ```text
//! agent.toml            what it is told
//! private/agent-roots   name: cap, a line for each root; as secret as repair caps are
//! agent.json            what it knows
//! agent.prom            the same as metrics
//! ```

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use caps::Cap;
use rustix::fs::{FlockOperation, flock};
use zeroize::Zeroizing;

use super::{AgentSettings, Held, SettingsError, may_hold};
use crate::aliases::{AliasNameError, name as checked_name};
use crate::config::ClientDir;
use crate::files::{read_secret, write_atomically};

const SETTINGS: &str = "agent.toml";
const ROOTS: &str = "private/agent-roots";
const STATE: &str = "agent.json";
const METRICS: &str = "agent.prom";
const LOCK: &str = "agent.lock";
/// The largest file of roots or settings that is read, and the largest state.
const MAX_LEN: u64 = 16 << 20;

/// Why an agent's files cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AgentDirError {
    /// A file cannot be read or written.
    #[error("{path} cannot be used")]
    File {
        /// Which.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// The settings cannot be followed.
    #[error("{path} cannot be followed: {reason}")]
    Settings {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: SettingsError,
    },
    /// A bad name.
    #[error(transparent)]
    Name(#[from] AliasNameError),
    /// The name is taken.
    #[error("the agent holds something called {name} already")]
    Exists {
        /// The name.
        name: String,
    },
    /// There is none of this name.
    #[error("the agent holds nothing called {name}")]
    Unknown {
        /// The name.
        name: String,
    },
    /// The agent has no use for this cap, or should not have it.
    #[error("the agent cannot hold this: {reason}")]
    Cap {
        /// Why.
        reason: &'static str,
    },
    /// Another agent works in this directory.
    #[error("an agent is running already in {dir}")]
    Running {
        /// The directory.
        dir: PathBuf,
    },
}

/// The files.
#[derive(Clone, Debug)]
pub struct AgentDir(ClientDir);

/// While this lives, no other agent runs in the directory.
#[derive(Debug)]
pub struct Running(#[expect(dead_code, reason = "held for its lock")] File);

impl AgentDir {
    /// The agent's files in a client's directory.
    pub fn of(dir: &ClientDir) -> Self {
        Self(dir.clone())
    }

    /// What stands in `file`, or in `agent.toml`. No `agent.toml` is as good as an empty one.
    ///
    /// # Errors
    ///
    /// [`AgentDirError::File`], [`AgentDirError::Settings`].
    pub fn settings(&self, file: Option<&Path>) -> Result<AgentSettings, AgentDirError> {
        let own = self.0.path(SETTINGS);
        let path = file.unwrap_or(&own);
        let text = match read_bounded(path) {
            Err(error) if file.is_none() && error.kind() == io::ErrorKind::NotFound => String::new(),
            read => read.map_err(failed(path))?,
        };
        AgentSettings::parse(&text)
            .map_err(|reason| AgentDirError::Settings { path: path.to_owned(), reason })
    }

    /// All that it holds. A line that cannot be understood is held as its own failure.
    ///
    /// # Errors
    ///
    /// [`AgentDirError::File`], also if others may read it.
    pub fn roots(&self) -> Result<Vec<Held>, AgentDirError> {
        let text = self.text()?;
        let lines = text.lines().enumerate().filter(|(_, line)| !is_comment(line));
        Ok(lines.map(|(index, line)| held(index + 1, line)).collect())
    }

    /// Holds one more.
    ///
    /// # Errors
    ///
    /// [`AgentDirError`]: a name that is taken or bad, a cap that reads.
    pub fn add(&self, name: &str, cap: &Cap) -> Result<(), AgentDirError> {
        let name = checked_name(name)?;
        may_hold(cap).map_err(|reason| AgentDirError::Cap { reason })?;
        let _only = self.lock("private/agent-roots.lock", FlockOperation::LockExclusive)?;
        let text = self.text()?;
        if text.lines().any(|line| name_of(line) == Some(&name)) {
            return Err(AgentDirError::Exists { name });
        }
        let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
        let cap = Zeroizing::new(cap.to_string());
        self.write(&Zeroizing::new([&text, end, &name, ": ", &cap, "\n"].concat()))
    }

    /// Lets one go. Its leases end as those of any account do that is not heard of.
    ///
    /// # Errors
    ///
    /// [`AgentDirError`]: [`AgentDirError::Unknown`] if there is none.
    pub fn remove(&self, name: &str) -> Result<(), AgentDirError> {
        let name = checked_name(name)?;
        let _only = self.lock("private/agent-roots.lock", FlockOperation::LockExclusive)?;
        let text = self.text()?;
        if !text.lines().any(|line| name_of(line) == Some(&name)) {
            return Err(AgentDirError::Unknown { name });
        }
        let rest = text.split_inclusive('\n').filter(|line| name_of(line) != Some(&name));
        self.write(&Zeroizing::new(rest.collect()))
    }

    /// What was published last; `None` if nothing was.
    ///
    /// # Errors
    ///
    /// [`AgentDirError::File`].
    pub fn state(&self) -> Result<Option<String>, AgentDirError> {
        let path = self.0.path(STATE);
        match read_bounded(&path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(&path)(error)),
        }
    }

    /// Publishes state and metrics; each file is replaced whole.
    ///
    /// # Errors
    ///
    /// [`AgentDirError::File`].
    pub fn publish(&self, state: &str, metrics: &str, elsewhere: Option<&Path>) -> Result<(), AgentDirError> {
        let own = self.0.path(METRICS);
        let state = (self.0.path(STATE), state, 0o600);
        let metrics = [Some(own.as_path()), elsewhere]
            .into_iter()
            .flatten()
            .map(|path| (path.to_owned(), metrics, 0o644));
        for (path, text, mode) in std::iter::once(state).chain(metrics) {
            write_atomically(&path, text.as_bytes(), mode).map_err(failed(&path))?;
        }
        Ok(())
    }

    /// Sees to it that one agent runs here.
    ///
    /// # Errors
    ///
    /// [`AgentDirError::Running`], [`AgentDirError::File`].
    pub fn begin(&self) -> Result<Running, AgentDirError> {
        self.lock(LOCK, FlockOperation::NonBlockingLockExclusive).map(Running)
    }

    fn text(&self) -> Result<Zeroizing<String>, AgentDirError> {
        let path = self.0.path(ROOTS);
        let long = |meta: fs::Metadata| meta.len() > MAX_LEN;
        if fs::metadata(&path).is_ok_and(long) {
            return Err(failed(&path)(io::ErrorKind::FileTooLarge.into()));
        }
        match read_secret(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Zeroizing::default()),
            read => read.map_err(failed(&path)),
        }
    }

    fn write(&self, text: &Zeroizing<String>) -> Result<(), AgentDirError> {
        let path = self.0.path(ROOTS);
        write_atomically(&path, text.as_bytes(), 0o600).map_err(failed(&path))
    }

    fn lock(&self, name: &str, how: FlockOperation) -> Result<File, AgentDirError> {
        let path = self.0.path(name);
        let opened = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = opened.map_err(failed(&path))?;
        match flock(&file, how) {
            Ok(()) => Ok(file),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(AgentDirError::Running { dir: self.0.path("") }),
            Err(error) => Err(failed(&path)(error.into())),
        }
    }
}

fn held(number: usize, line: &str) -> Held {
    let parts =
        line.split_once(':').and_then(|(name, cap)| Some((checked_name(name.trim()).ok()?, cap.trim())));
    let Some((name, text)) = parts else {
        let reason = "the line is not of the form NAME: CAP".to_owned();
        return Held { name: format!("line {number}"), cap: Err(reason) };
    };
    let parsed = text.parse::<Cap>().map_err(|error| error.to_string());
    let cap = parsed.and_then(|cap| may_hold(&cap).map(|()| cap).map_err(str::to_owned));
    Held { name, cap }
}

fn is_comment(line: &str) -> bool {
    line.trim().is_empty() || line.trim().starts_with('#')
}

fn name_of(line: &str) -> Option<&str> {
    if is_comment(line) { None } else { line.split_once(':').map(|(name, _)| name.trim()) }
}

fn read_bounded(path: &Path) -> io::Result<String> {
    if fs::metadata(path)?.len() > MAX_LEN {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    fs::read_to_string(path)
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> AgentDirError + use<> {
    let path = path.to_owned();
    move |source| AgentDirError::File { path, source }
}
