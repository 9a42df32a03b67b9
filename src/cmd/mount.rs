//! `sarsen mount` and `sarsen umount`: a directory of the grid among the folders of this machine.

mod daemon;
mod options;
mod table;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use caps::Cap;
use client::ClientDir;
use fuse::{KernelSide, Mount, Owner, Telling};
use fuser::{BackgroundSession, MountOption, SessionACL};
use protocol::{OsRandom, SystemClock};

use super::signals::Signals;
use super::target::At;
use crate::cli::{MountArgs, UmountArgs};
use crate::report::{MountError, Usage};
use crate::sizes::plural;
use daemon::Left;
use options::MountOptions;

/// Threads that take calls from the kernel.
const THREADS: usize = 2;
/// How often it is looked whether somebody unmounted it.
const LOOK: Duration = Duration::from_millis(50);
/// Bytes on disk for what was read.
const CACHE: u64 = 1 << 30;
/// For so long names and attributes are believed.
const BELIEVE: Duration = Duration::from_secs(1);
/// For so long a mount waits for the end of the one before.
const OTHERS: Duration = Duration::from_secs(10);
/// What is owed to the grid may take so long to be sent at the end; the journal keeps the rest.
const FAREWELL: Duration = Duration::from_secs(300);

/// The client's directory: named by `client=`, or as for all verbs.
pub(crate) fn home(args: &MountArgs, usual: impl Fn() -> anyhow::Result<PathBuf>) -> anyhow::Result<PathBuf> {
    match MountOptions::parse(&args.options)?.client {
        Some(dir) => Ok(dir),
        None => usual(),
    }
}

pub(crate) async fn run(home: &Path, args: &MountArgs, quiet: bool) -> anyhow::Result<()> {
    let options = MountOptions::parse(&args.options)?;
    check_mountpoint(&args.at)?;
    if args.daemon {
        return daemon::start(home);
    }
    if !Path::new("/dev/fuse").exists() && cfg!(target_os = "linux") {
        bail!(Usage("this machine has no /dev/fuse: install fuse3, or load the kernel's module fuse"));
    }
    let client = super::connected(home, quiet).await?;
    let root = root_of(home, &client, &args.what).await?;
    let folder = home.join("mounts").join(id_of(&root)?);
    let mount = start_after_others(&client, &root, &folder, &options, quiet).await?;
    // From here on a signal takes the mount away in order.
    let mut signals = Signals::new()?;
    let (session, mounted) = match serve(&mount, &args.at, &args.what, &options) {
        Ok(session) => (session, daemon::Mounted::note(&folder, &args.at)?),
        Err(error) => {
            mount.stop(Duration::ZERO).await;
            return Err(error);
        }
    };
    mount.tell(Arc::new(Telling::start(session.notifier())));
    daemon::tell_ready();
    if !quiet {
        eprintln!("mounted on {}; `sarsen umount` or Ctrl-C ends it", args.at.display());
    }
    let ended = until_unmounted(session, &args.at, &mut signals).await;
    let left = farewell(&mount, &mut signals, quiet).await;
    client.close().await;
    let left = Left { changes: left as u64, lost: mount.is_lossy() };
    mounted.end(left);
    ended?;
    left.told()
}

/// Sends what the grid does not have, as long as nobody says that it shall end at once. How many changes are left.
async fn farewell(mount: &Mount, signals: &mut Signals, quiet: bool) -> usize {
    let owed = mount.owed();
    if owed > 0 && !quiet {
        let changes = plural(owed as u64, "change");
        eprintln!(
            "{changes} not on the grid yet: sending, for up to {} s; Ctrl-C leaves the rest to the next mount",
            FAREWELL.as_secs()
        );
    }
    tokio::select! {
        left = mount.stop(FAREWELL) => return left,
        () = signals.next() => {}
    }
    mount.stop(Duration::ZERO).await
}

fn check_mountpoint(at: &Path) -> anyhow::Result<()> {
    let mut found = std::fs::metadata(at);
    if let Err(error) = &found
        && error.raw_os_error() == Some(libc::ENOTCONN)
    {
        // What is left of a mount that died.
        daemon::unmount(at, true)?;
        found = std::fs::metadata(at);
    }
    let found = found.with_context(|| format!("cannot mount on {}", at.display()))?;
    if !found.is_dir() {
        bail!("cannot mount on {}: it is not a folder", at.display());
    }
    Ok(())
}

async fn root_of(home: &Path, client: &client::Client, what: &str) -> anyhow::Result<Cap> {
    let dir = ClientDir::open(home)?;
    let at = At::parse(what, || Ok(dir.clone()))?;
    let child = at.child(client).await?;
    let cap = child.cap().clone();
    if !cap.is_directory() {
        bail!(Usage("only a directory can be mounted"));
    }
    Ok(cap)
}

/// What tells mounts of this client apart: nothing of the capability.
fn id_of(root: &Cap) -> anyhow::Result<String> {
    let hash = root.verify_hash().context("a directory that stands in its capability cannot be mounted")?;
    let id = blake3::derive_key("sarsen v1 mount", hash.as_bytes());
    Ok(data_encoding::HEXLOWER.encode(&id[..16]))
}

/// Waits a while for the end of a mount of the same directory that is not to be seen any more, and still sends.
async fn start_after_others(
    client: &client::Client,
    root: &Cap,
    folder: &Path,
    options: &MountOptions,
    quiet: bool,
) -> anyhow::Result<Mount> {
    let (begun, mut told) = (std::time::Instant::now(), quiet);
    loop {
        let started = start(client, root, folder, options).await;
        let in_use = |error: &anyhow::Error| {
            matches!(error.downcast_ref(), Some(fuse::MountError::Journal(fuse::JournalError::InUse)))
        };
        if !started.as_ref().is_err_and(in_use) {
            return started;
        }
        // One that ended just now has no note any more.
        if let Some(daemon::Holder { at, process, .. }) = daemon::holder_of(folder) {
            if table::there(&at) != table::There::Nothing {
                return Err(MountError::Mounted { at, process }.into());
            }
            if begun.elapsed() > OTHERS {
                return Err(MountError::Ending { process }.into());
            }
        } else if begun.elapsed() > OTHERS {
            return started;
        }
        if !told {
            eprintln!(
                "an earlier mount of the same directory is still sending what was written: waiting for it"
            );
            told = true;
        }
        tokio::time::sleep(LOOK * 2).await;
    }
}

async fn start(
    client: &client::Client,
    root: &Cap,
    folder: &Path,
    options: &MountOptions,
) -> anyhow::Result<Mount> {
    let key = blake3::derive_key("sarsen v1 journal", &*client.settings().convergence);
    let me = rustix::process::getuid().as_raw();
    let group = rustix::process::getgid().as_raw();
    let usual = fuse::Options::default();
    let host = rustix::system::uname().nodename().to_str().ok().map(str::to_owned);
    let settings = fuse::Options {
        read_only: options.read_only,
        owner: Owner { uid: options.uid.unwrap_or(me), gid: options.gid.unwrap_or(group) },
        durable: options.durable,
        believe: BELIEVE,
        timeout: options.timeout.unwrap_or(usual.timeout),
        dirty_max: options.dirty.unwrap_or(usual.dirty_max),
        memory: options.memory.unwrap_or(usual.memory),
        cache: options.cache.unwrap_or(CACHE),
        journal: Some((folder.to_owned(), key)),
        host: host.unwrap_or(usual.host),
        linger: usual.linger,
    };
    let world = (Arc::new(SystemClock::default()) as _, Arc::new(OsRandom) as _);
    Ok(Mount::start(client, root, world, settings).await?)
}

fn serve(mount: &Mount, at: &Path, what: &str, options: &MountOptions) -> anyhow::Result<BackgroundSession> {
    let mut config = fuser::Config::default();
    // Caps are for their holders, and everybody may read the list of mounts.
    let source = if client::path::looks_like_cap(what) { "sarsen" } else { what };
    config.mount_options = vec![
        MountOption::FSName(source.replace(',', "_")),
        MountOption::Subtype("sarsen".into()),
        MountOption::DefaultPermissions,
    ];
    config.mount_options.push(if mount.is_read_only() { MountOption::RO } else { MountOption::RW });
    for word in &options.system {
        config.mount_options.push(match word.as_str() {
            "nosuid" => MountOption::NoSuid,
            "suid" => MountOption::Suid,
            "nodev" => MountOption::NoDev,
            "dev" => MountOption::Dev,
            "noexec" => MountOption::NoExec,
            "exec" => MountOption::Exec,
            "noatime" => MountOption::NoAtime,
            "sync" => MountOption::Sync,
            "dirsync" => MountOption::DirSync,
            other => MountOption::CUSTOM(other.to_owned()),
        });
    }
    config.acl = if options.allow_other { SessionACL::All } else { SessionACL::Owner };
    config.n_threads = Some(if cfg!(target_os = "linux") { THREADS } else { 1 });
    let side = KernelSide::new(
        mount.clone(),
        tokio::runtime::Handle::current(),
        BELIEVE,
        rustix::process::getuid().as_raw(),
    );
    fuser::spawn_mount(side, at, &config).map_err(|error| {
        let hint = match error.kind() {
            std::io::ErrorKind::NotFound => " (install fuse3: its fusermount3 is wanted)",
            std::io::ErrorKind::PermissionDenied => {
                " (allow_other wants user_allow_other in /etc/fuse.conf; the folder must be yours)"
            }
            _ => "",
        };
        anyhow::Error::new(error).context(format!("cannot mount on {}{hint}", at.display()))
    })
}

/// Waits until somebody unmounts it, or this program is told to stop; then it unmounts it itself.
async fn until_unmounted(session: BackgroundSession, at: &Path, signals: &mut Signals) -> anyhow::Result<()> {
    while !session.guard.is_finished() {
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = signals.next() => {
                // Somebody else may be about to do so.
                if let Err(error) = daemon::unmount(at, false)
                    && !ends_soon(&session).await
                {
                    eprintln!("note: programs use it ({error:#}): what they have open there is cut off");
                    daemon::unmount(at, true)?;
                }
                // Dropped, it would do so once more, whatever stands there by then.
                std::mem::forget(session);
                return Ok(());
            }
        }
    }
    // Dropped, it would unmount whatever stands on that folder by now, in spite of its own check (fuser 0.18).
    std::mem::forget(session);
    Ok(())
}

async fn ends_soon(session: &BackgroundSession) -> bool {
    tokio::time::sleep(LOOK * 4).await;
    session.guard.is_finished()
}

pub(crate) fn umount(home: &Path, args: &UmountArgs, quiet: bool) -> anyhow::Result<()> {
    let at = table::real(&args.at);
    let waiting = daemon::holder_at(home, &at);
    match table::there(&at) {
        // It is still sending.
        table::There::Nothing if waiting.is_some() => {}
        table::There::Nothing => return Err(MountError::NotMounted { at: args.at.clone() }.into()),
        table::There::Other(kind) => return Err(MountError::NotOurs { at: args.at.clone(), kind }.into()),
        table::There::Fuse | table::There::Unknown => daemon::unmount(&args.at, args.lazy)?,
    }
    if args.lazy {
        // Programs may use it for as long as they like.
        return Ok(());
    }
    match waiting.map(|holder| holder.wait(quiet)) {
        // None of ours.
        None => Ok(()),
        Some(Some(left)) => left.told(),
        Some(None) => Err(MountError::Died.into()),
    }
}

impl Left {
    fn told(self) -> anyhow::Result<()> {
        match self {
            Self { changes: 0, .. } => Ok(()),
            Self { changes, lost: true } => Err(MountError::Lost { changes }.into()),
            Self { changes, lost: false } => Err(MountError::Owed { changes }.into()),
        }
    }
}
