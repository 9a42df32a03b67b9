//! Files that a gateway leaves for its owner and for nobody else.

use std::fs::{DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use gateway::Token;
use rustix::fs::{
    AtFlags, FlockOperation, Mode, OFlags, fchmod, flock, fstat, mkdirat, open, openat, unlinkat,
};
use rustix::io::Errno;

const FOLDER: OFlags = OFlags::DIRECTORY.union(OFlags::CLOEXEC);
const OWNER: Mode = Mode::RUSR.union(Mode::WUSR);

/// Makes a folder that the `tahoe` command takes for a node's. What its user keeps there stays. No link in it is followed.
///
/// # Errors
///
/// Something cannot be written, or `private` is a link.
pub(super) fn write_tahoe_dir(dir: &Path, url: &str, token: &Token) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let folder = open(dir, FOLDER, Mode::empty())?;
    match mkdirat(&folder, "private", Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    let private =
        openat(&folder, "private", FOLDER | OFlags::NOFOLLOW, Mode::empty()).map_err(
            |error| match error {
                Errno::LOOP | Errno::NOTDIR => io::Error::new(
                    io::ErrorKind::NotADirectory,
                    "private in it is no folder, or a symbolic link",
                ),
                error => error.into(),
            },
        )?;
    fchmod(&private, Mode::RWXU)?;
    replace(&folder, "node.url", &format!("{url}\n"))?;
    // `tahoe status` sends what stands here.
    replace(&private, "api_auth_token", token.reveal())?;
    match make(&private, "aliases") {
        Ok(_) => Ok(()),
        Err(Errno::EXIST) => keep(&private, "aliases"),
        Err(error) => Err(error.into()),
    }
}

/// Writes a file of the client's directory that counts as long as what is returned is open: not after this process, however it ends.
///
/// # Errors
///
/// It cannot be written.
pub(super) fn write_held(dir: &Path, name: &str, text: &str) -> io::Result<File> {
    let file = replace(&open(dir, FOLDER, Mode::empty())?, name, text)?;
    // Who looks whether it is held, holds it for a moment.
    flock(&file, FlockOperation::LockExclusive)?;
    Ok(file)
}

/// Reads such a file; nothing, if nobody holds it.
///
/// # Errors
///
/// It cannot be read.
pub(super) fn read_held(dir: &Path, name: &str) -> io::Result<Option<String>> {
    let mut file = match File::open(dir.join(name)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    match flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => return Ok(None),
        Err(Errno::WOULDBLOCK) => {}
        Err(error) => return Err(error.into()),
    }
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    Ok(Some(text))
}

/// Puts a new file in the place of what is there.
fn replace(folder: impl AsFd, name: &str, text: &str) -> io::Result<File> {
    match unlinkat(&folder, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(error) => return Err(error.into()),
    }
    let mut file = File::from(make(&folder, name)?);
    file.write_all(text.as_bytes())?;
    Ok(file)
}

fn make(folder: impl AsFd, name: &str) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(folder, name, flags, OWNER)
}

/// What the user has there is for nobody else; what a link of his leads to is his own affair.
fn keep(folder: impl AsFd, name: &str) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match openat(folder, name, flags, Mode::empty()) {
        Err(Errno::LOOP) => return Ok(()),
        file => file?,
    };
    let mode = Mode::from_raw_mode(fstat(&file)?.st_mode);
    match mode.difference(OWNER).is_empty() {
        true => Ok(()),
        false => Ok(fchmod(&file, OWNER)?),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn what_was_open_to_others_is_the_owners_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (node, private) = (folder.path().join("node"), folder.path().join("node/private"));
        fs::create_dir_all(&private).unwrap();
        fs::set_permissions(&private, fs::Permissions::from_mode(0o777)).unwrap();
        for name in ["api_auth_token", "aliases"] {
            fs::write(private.join(name), "home: URI").unwrap();
            fs::set_permissions(private.join(name), fs::Permissions::from_mode(0o666)).unwrap();
        }
        let open = fs::File::open(private.join("api_auth_token")).unwrap();
        write_tahoe_dir(&node, "http://127.0.0.1:1/", &Token::new("secret".into())).unwrap();
        assert_eq!(mode(&private), 0o700);
        assert_eq!((mode(&private.join("aliases")), mode(&private.join("api_auth_token"))), (0o600, 0o600));
        assert_eq!(fs::read_to_string(private.join("aliases")).unwrap(), "home: URI");
        assert_eq!(fs::read_to_string(private.join("api_auth_token")).unwrap(), "secret");
        assert_eq!(fs::read_to_string(node.join("node.url")).unwrap(), "http://127.0.0.1:1/\n");
        assert_eq!(io::read_to_string(open).unwrap(), "home: URI", "who had it open before sees the token");
    }

    #[test]
    fn what_nobody_holds_does_not_count() {
        let folder = tempfile::tempdir().unwrap();
        let read = || read_held(folder.path(), "file").unwrap();
        assert_eq!(read(), None);
        let held = write_held(folder.path(), "file", "one").unwrap();
        assert_eq!((read(), mode(&folder.path().join("file"))), (Some("one".into()), 0o600));
        let other = write_held(folder.path(), "file", "other").unwrap();
        drop(held);
        assert_eq!(read(), Some("other".into()));
        drop(other);
        assert_eq!(read(), None);
    }

    #[test]
    fn no_link_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (node, other) = (folder.path().join("node"), folder.path().join("other"));
        let token = Token::new("secret".into());
        fs::create_dir_all(node.join("private")).unwrap();
        fs::write(&other, "theirs").unwrap();
        for name in ["node.url", "private/api_auth_token", "private/aliases"] {
            symlink(&other, node.join(name)).unwrap();
        }
        write_tahoe_dir(&node, "http://127.0.0.1:1/", &token).unwrap();
        assert_eq!(fs::read_to_string(&other).unwrap(), "theirs");
        let linked = |name: &str| fs::symlink_metadata(node.join(name)).unwrap().is_symlink();
        assert!(!linked("node.url") && !linked("private/api_auth_token") && linked("private/aliases"));
        fs::rename(node.join("private"), folder.path().join("elsewhere")).unwrap();
        symlink("../elsewhere", node.join("private")).unwrap();
        let error = write_tahoe_dir(&node, "http://127.0.0.1:1/", &token).unwrap_err();
        assert!(error.to_string().contains("symbolic link"), "{error}");
    }
}
