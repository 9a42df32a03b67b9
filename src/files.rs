//! Files the command writes: beside their place first, then renamed, so that nobody ever sees half of one. What is no regular file is
//! written into as it is.

use std::ffi::OsString;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use rustix::fs::{FlockOperation, OFlags, flock};

/// Symbolic links that are followed one after the other, as many as Linux does.
const MOST_LINKS: usize = 40;

/// Where something is to be written.
pub(crate) enum Place {
    /// A regular file, or none yet.
    File(Regular),
    /// A FIFO, a device, an open file of a process: nothing may take its place.
    Stream(PathBuf),
}

/// The place of a regular file.
pub(crate) struct Regular {
    path: PathBuf,
    /// The file that will be replaced.
    before: Option<Metadata>,
}

impl Place {
    /// Looks what is there, and through symbolic links: what they lead to is meant.
    pub(crate) fn find(named: &Path) -> anyhow::Result<Self> {
        let cannot = || format!("cannot write beside {}", named.display());
        if named.as_os_str().as_encoded_bytes().ends_with(b"/") && !named.is_dir() {
            bail!("there is no folder {}", named.display());
        }
        let mut path = named.to_owned();
        for _ in 0..MOST_LINKS {
            let name = path.file_name().with_context(|| format!("{} names no file", named.display()))?;
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            let folder = fs::canonicalize(folder.unwrap_or(Path::new("."))).with_context(cannot)?;
            if folder.starts_with("/proc") {
                return Ok(Self::Stream(path));
            }
            let real = folder.join(name);
            path = match fs::symlink_metadata(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return Ok(Self::File(Regular { path: real, before: None }));
                }
                Err(error) => return Err(error).with_context(cannot),
                Ok(found) if found.is_symlink() => {
                    if !may_follow(&found, &fs::metadata(&folder).with_context(cannot)?) {
                        bail!("{} is somebody else's symbolic link in a folder open to all", path.display());
                    }
                    folder.join(fs::read_link(&real).with_context(cannot)?)
                }
                Ok(found) if found.is_dir() => bail!("{} is a folder", named.display()),
                Ok(found) if found.is_file() => {
                    return Ok(Self::File(Regular { path: real, before: Some(found) }));
                }
                Ok(_) => return Ok(Self::Stream(real)),
            };
        }
        bail!("{} leads through too many symbolic links", named.display())
    }
}

/// As Linux has it for `open` (`fs.protected_symlinks`, proc(5)): in a sticky folder that all may write, only links of one's own or of the
/// folder's owner lead on.
fn may_follow(link: &Metadata, folder: &Metadata) -> bool {
    let open_to_all = folder.mode() & 0o1002 == 0o1002;
    !open_to_all || [rustix::process::geteuid().as_raw(), folder.uid()].contains(&link.uid())
}

/// Opens what is no regular file. Of a FIFO this waits for its reader.
pub(crate) fn open_stream(path: &Path) -> anyhow::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).truncate(true).custom_flags(OFlags::NOCTTY.bits() as i32);
    options.open(path).with_context(|| format!("cannot write {}", path.display()))
}

/// Whether a path stands for standard output.
pub(crate) fn is_stdout(path: &Path) -> bool {
    path == Path::new("-") || path == Path::new("/dev/stdout")
}

/// A file on its way to its place.
pub(crate) struct Beside {
    /// The file, open for reading and writing.
    pub(crate) file: File,
    beside: PathBuf,
    place: PathBuf,
    before: Option<Metadata>,
}

impl Beside {
    /// Opens, or makes, the file that stands in for `place` until it is complete. `mark` tells apart what is written: the same mark
    /// finds what an interrupted run left.
    pub(crate) fn open(place: &Regular, mark: &str) -> anyhow::Result<Self> {
        let Regular { path, before } = place;
        let mut beside = OsString::from(".");
        beside.push(path.file_name().unwrap_or_default());
        beside.push(format!(".{mark}.part"));
        let beside = path.with_file_name(beside);
        let cannot = || format!("cannot write beside {}", path.display());
        let mut options = OpenOptions::new();
        options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .custom_flags(OFlags::NOFOLLOW.bits() as i32);
        if before.is_some() {
            options.mode(0o600);
        }
        let file = options.open(&beside).with_context(cannot)?;
        flock(&file, FlockOperation::NonBlockingLockExclusive)
            .with_context(|| format!("another process is writing {}", path.display()))?;
        if before.is_some() {
            // What an interrupted run left may be from when there was no file, or a public one.
            file.set_permissions(PermissionsExt::from_mode(0o600)).with_context(cannot)?;
        }
        Ok(Self { file, beside, place: path.clone(), before: before.clone() })
    }

    /// Syncs the file and puts it in its place.
    pub(crate) fn finish(self) -> anyhow::Result<()> {
        let put = || {
            self.file.sync_all()?;
            if let Some(before) = &self.before {
                resemble(&self.file, before)?;
            }
            fs::rename(&self.beside, &self.place)
        };
        put().with_context(|| format!("cannot complete {}", self.place.display()))
    }

    /// Removes what was written so far.
    pub(crate) fn discard(self) {
        // If it stays, the next run finds and checks it.
        let _ = fs::remove_file(&self.beside);
    }
}

/// Gives a file the mode of the one it replaces, and its owner where that is allowed.
fn resemble(file: &File, before: &Metadata) -> io::Result<()> {
    let mut mode = before.mode() & 0o777;
    let now = file.metadata()?;
    if (now.uid(), now.gid()) != (before.uid(), before.gid())
        && fchown(file, Some(before.uid()), Some(before.gid())).is_err()
        && fchown(file, None, Some(before.gid())).is_err()
    {
        // Another group may do no more than everybody.
        mode &= 0o707 | (mode << 3 & 0o070);
    }
    file.set_permissions(PermissionsExt::from_mode(mode))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    fn regular(path: &Path) -> Regular {
        match Place::find(path).unwrap() {
            Place::File(place) => place,
            Place::Stream(path) => panic!("{} is a file", path.display()),
        }
    }

    #[test]
    fn a_private_file_stays_private_all_the_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "old").unwrap();
        for wanted in [0o600, 0o640, 0o755] {
            fs::set_permissions(&path, PermissionsExt::from_mode(wanted)).unwrap();
            let left = folder.path().join(".file.mark.part");
            fs::write(&left, "left by an interrupted run").unwrap();
            fs::set_permissions(&left, PermissionsExt::from_mode(0o644)).unwrap();
            let beside = Beside::open(&regular(&path), "mark").unwrap();
            assert_eq!(mode(&left), 0o600);
            beside.finish().unwrap();
            assert_eq!(mode(&path), wanted);
        }
        let beside = Beside::open(&regular(&path), "other").unwrap();
        assert_eq!(mode(&folder.path().join(".file.other.part")), 0o600, "from its first moment on");
        beside.discard();
    }

    #[test]
    fn links_of_others_lead_nowhere_in_a_folder_open_to_all() {
        // The tests may run as root, to whom nothing belongs to others: /proc/self is root's, in a folder of root's.
        let (link, folder) = (fs::symlink_metadata("/proc/self").unwrap(), fs::metadata("/proc").unwrap());
        assert!(may_follow(&link, &folder));
        let (place, shared) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        symlink("anywhere", place.path().join("link")).unwrap();
        let link = place.path().join("link");
        let owned = std::os::unix::fs::lchown(&link, Some(65_534), None).is_ok();
        fs::set_permissions(shared.path(), PermissionsExt::from_mode(0o1777)).unwrap();
        let (link, shared) = (fs::symlink_metadata(link).unwrap(), fs::metadata(shared.path()).unwrap());
        // Only root can give a link away.
        assert_eq!(may_follow(&link, &shared), !owned);
    }

    #[test]
    fn links_are_followed_to_their_end() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("far")).unwrap();
        symlink("far/link", at("first")).unwrap();
        symlink("../there", at("far/link")).unwrap();
        let real = fs::canonicalize(folder.path()).unwrap().join("there");
        // Once where it leads to nothing yet, once to a file.
        for before in [false, true] {
            let place = regular(&at("first"));
            assert_eq!((&place.path, place.before.is_some()), (&real, before));
            fs::write(&real, "").unwrap();
        }
        symlink("loop", at("loop")).unwrap();
        // Whose link is in a folder open to all counts; ours is.
        fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o1777)).unwrap();
        assert_eq!(regular(&at("first")).path, real);
        assert!(Place::find(&at("loop")).is_err());
        assert!(matches!(Place::find(Path::new("/proc/self/fd/1")), Ok(Place::Stream(_))));
        assert!(Place::find(folder.path()).is_err() && Place::find(&at("none/x")).is_err());
    }
}
