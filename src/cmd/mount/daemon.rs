//! A mount in the background, and its end.

use std::fs;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio, exit};
use std::time::Duration;

use anyhow::{Context, bail};

use super::table;

/// What a mount in the background says to whoever started it.
const READY: &str = "mounted";
/// Set where somebody waits for that.
const WAITED_FOR: &str = "SARSEN_MOUNT_WAITED_FOR";
/// Who unmounts is told after so long that something is still being sent.
const IMPATIENT: Duration = Duration::from_secs(1);

/// Starts this program once more, in the background, and waits until its mount answers.
pub(super) fn start(home: &Path) -> anyhow::Result<()> {
    let folder = home.join("mounts");
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
    let path = folder.join("log");
    let mut log = fs::File::options().create(true).append(true).read(true).open(&path)?;
    let begin = log.seek(SeekFrom::End(0))?;
    let arguments = std::env::args_os().skip(1).filter(|argument| argument != "--daemon");
    let mut child = Command::new(std::env::current_exe()?)
        .args(arguments)
        .env(WAITED_FOR, "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log.try_clone()?)
        .process_group(0)
        .spawn()?;
    let mut line = String::new();
    if let Some(said) = child.stdout.take() {
        BufReader::new(said).read_line(&mut line)?;
    }
    if line.trim() == READY {
        return Ok(());
    }
    let status = child.wait()?;
    log.seek(SeekFrom::Start(begin))?;
    let mut said = Vec::new();
    log.read_to_end(&mut said)?;
    std::io::stderr().write_all(&said)?;
    exit(status.code().unwrap_or(1));
}

/// Tells who waits that the mount answers.
pub(super) fn tell_ready() {
    if std::env::var_os(WAITED_FOR).is_some() {
        // Whoever started this may be gone by now.
        let _ = writeln!(std::io::stdout(), "{READY}");
        let _ = std::io::stdout().flush();
    }
}

/// What a mount could not send.
#[derive(Clone, Copy)]
pub(super) struct Left {
    pub(super) changes: u64,
    /// Whether the journal does not have it either.
    pub(super) lost: bool,
}

/// A note of where this process has mounted, locked as long as it runs.
pub(super) struct Mounted {
    note: fs::File,
    path: PathBuf,
}

impl Mounted {
    pub(super) fn note(folder: &Path, at: &Path) -> anyhow::Result<Self> {
        let at = table::real(at);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        // Several that only read may have the same directory.
        let path = folder.join(format!("mounted-{}", std::process::id()));
        let mut note = fs::File::create(&path)?;
        note.try_lock()?;
        write!(note, "{}\n{}\n", std::process::id(), at.display())?;
        Ok(Self { note, path })
    }

    /// Tells who waits what could not be sent.
    pub(super) fn end(mut self, left: Left) {
        let _ = writeln!(self.note, "{}\n{}", left.changes, left.lost);
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Who waits has it open.
        let _ = fs::remove_file(&self.path);
    }
}

/// The note of a process that has something mounted.
pub(super) struct Holder {
    note: fs::File,
    pub(super) process: String,
    pub(super) at: PathBuf,
}

/// The processes that have mounted the directory of this folder; notes of those that were killed go.
fn holders(folder: &Path) -> impl Iterator<Item = Holder> + use<> {
    let notes = fs::read_dir(folder).into_iter().flatten().flatten();
    let notes = notes.filter(|note| note.file_name().to_string_lossy().starts_with("mounted-"));
    notes.filter_map(|note| {
        let mut file = fs::File::open(note.path()).ok()?;
        if file.try_lock_shared().is_ok() {
            let _ = fs::remove_file(note.path());
            return None;
        }
        let mut text = String::new();
        file.read_to_string(&mut text).ok()?;
        let (process, at) = text.split_once('\n')?;
        Some(Holder { note: file, process: process.to_owned(), at: at.trim_end().into() })
    })
}

/// Who of this client has mounted the directory of this folder.
pub(super) fn holder_of(folder: &Path) -> Option<Holder> {
    holders(folder).next()
}

/// Who of this client has mounted there.
pub(super) fn holder_at(home: &Path, at: &Path) -> Option<Holder> {
    let folders = fs::read_dir(home.join("mounts")).ok()?.flatten();
    folders.flat_map(|folder| holders(&folder.path())).find(|holder| holder.at == at)
}

impl Holder {
    /// Waits until it has ended. What it left unsent; `None`: it could not say.
    pub(super) fn wait(mut self, quiet: bool) -> Option<Left> {
        let begun = std::time::Instant::now();
        let mut told = quiet;
        while matches!(self.note.try_lock_shared(), Err(fs::TryLockError::WouldBlock)) {
            std::thread::sleep(Duration::from_millis(20));
            if !told && begun.elapsed() > IMPATIENT {
                eprintln!("what was written is being sent to the grid; Ctrl-C stops waiting, not sending");
                told = true;
            }
        }
        let mut text = String::new();
        self.note.rewind().ok()?;
        self.note.read_to_string(&mut text).ok()?;
        let mut said = text.lines().skip(2);
        Some(Left { changes: said.next()?.parse().ok()?, lost: said.next()?.parse().ok()? })
    }
}

/// Takes a mount away.
///
/// # Errors
///
/// Programs use it, or there is none.
pub(super) fn unmount(at: &Path, lazy: bool) -> anyhow::Result<()> {
    let helper = if lazy { ["-uz"] } else { ["-u"] };
    let plain = if lazy { vec!["-l"] } else { Vec::new() };
    let tried = [("fusermount3", helper.to_vec()), ("umount", plain)];
    let mut said = None;
    for (program, arguments) in tried {
        match Command::new(program).args(&arguments).arg(at).output() {
            Ok(output) if output.status.success() => return Ok(()),
            Ok(output) => {
                said.get_or_insert_with(|| String::from_utf8_lossy(&output.stderr).trim().to_owned());
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("cannot run {program}")),
        }
    }
    let said = said.unwrap_or_else(|| "neither fusermount3 nor umount is there".to_owned());
    if said.contains("busy") {
        bail!("{} is in use: close what is open there, or give --lazy", at.display());
    }
    bail!("cannot unmount {}: {said}", at.display());
}
