//! The folder that a gateway writes for the `tahoe` command.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use client::ClientDir;
use gateway::Token;
use rustix::fs::{AtFlags, Mode, OFlags, fchmod, fstat, mkdirat, open, openat, unlinkat};
use rustix::io::Errno;

use crate::report::GatewayError;

const FOLDER: OFlags = OFlags::DIRECTORY.union(OFlags::CLOEXEC);
const OWNER: Mode = Mode::RUSR.union(Mode::WUSR);
/// The file by which a gateway knows a folder as one that a gateway wrote.
const MARK: &str = "sarsen-gateway";
const MARK_TEXT: &str = "\
`sarsen gateway run --tahoe-dir` writes node.url and private/api_auth_token here each time it starts. The rest is yours.
";

/// Whether the folder is not there yet, or empty, or was written by a gateway.
///
/// # Errors
///
/// It is anything else, or cannot be read.
pub(super) fn refuse_foreign(dir: &Path) -> anyhow::Result<()> {
    let first = match fs::read_dir(dir) {
        Ok(mut entries) => entries.next().transpose()?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(anyhow::Error::new(error).context(format!("cannot use {}", dir.display()))),
    };
    if first.is_none() || fs::symlink_metadata(dir.join(MARK)).is_ok_and(|mark| mark.is_file()) {
        return Ok(());
    }
    let is = match dir {
        dir if ClientDir::holds_client(dir) => "is a client's directory",
        dir if dir.join("tahoe.cfg").exists() => "is the folder of a Tahoe node",
        _ => "holds what no gateway wrote",
    };
    Err(GatewayError::Foreign { dir: dir.to_owned(), is }.into())
}

/// Makes a folder that the `tahoe` command takes for a node's. What its user keeps there stays. No link in it is followed.
///
/// # Errors
///
/// Something cannot be written, or `private` is a link.
pub(super) fn write(dir: &Path, url: &str, token: &Token) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let folder = open(dir, FOLDER, Mode::empty())?;
    replace(&folder, MARK, MARK_TEXT)?;
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

/// Puts a new file in the place of what is there.
fn replace(folder: impl AsFd, name: &str, text: &str) -> io::Result<()> {
    match unlinkat(&folder, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(error) => return Err(error.into()),
    }
    let mut file = File::from(make(&folder, name)?);
    file.write_all(text.as_bytes())
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
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    fn is_foreign(dir: &Path) -> Option<&'static str> {
        let error = refuse_foreign(dir).err()?;
        match error.downcast_ref() {
            Some(GatewayError::Foreign { is, .. }) => Some(is),
            _ => panic!("{error:#}"),
        }
    }

    #[test]
    fn what_others_made_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("a/node");
        assert_eq!(is_foreign(&dir), None, "it is not there yet");
        fs::create_dir_all(&dir).unwrap();
        assert_eq!(is_foreign(&dir), None, "it is empty");
        write(&dir, "http://127.0.0.1:1/", &Token::new("secret".into())).unwrap();
        fs::write(dir.join("private/aliases"), "home: URI").unwrap();
        assert_eq!(is_foreign(&dir), None, "a gateway wrote it");
        fs::remove_file(dir.join(MARK)).unwrap();
        assert_eq!(is_foreign(&dir), Some("holds what no gateway wrote"));
        fs::write(dir.join("tahoe.cfg"), "[node]").unwrap();
        assert_eq!(is_foreign(&dir), Some("is the folder of a Tahoe node"));
        fs::write(dir.join("sarsen.toml"), "").unwrap();
        assert_eq!(is_foreign(&dir), Some("is a client's directory"));
        assert!(refuse_foreign(&dir.join("tahoe.cfg")).unwrap_err().to_string().contains("tahoe.cfg"));
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
        write(&node, "http://127.0.0.1:1/", &Token::new("secret".into())).unwrap();
        assert_eq!(mode(&private), 0o700);
        assert_eq!((mode(&private.join("aliases")), mode(&private.join("api_auth_token"))), (0o600, 0o600));
        assert_eq!(fs::read_to_string(private.join("aliases")).unwrap(), "home: URI");
        assert_eq!(fs::read_to_string(private.join("api_auth_token")).unwrap(), "secret");
        assert_eq!(fs::read_to_string(node.join("node.url")).unwrap(), "http://127.0.0.1:1/\n");
        assert_eq!(io::read_to_string(open).unwrap(), "home: URI", "who had it open before sees the token");
    }

    #[test]
    fn no_link_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (node, other) = (folder.path().join("node"), folder.path().join("other"));
        let token = Token::new("secret".into());
        fs::create_dir_all(node.join("private")).unwrap();
        fs::write(&other, "theirs").unwrap();
        for name in ["node.url", MARK, "private/api_auth_token", "private/aliases"] {
            symlink(&other, node.join(name)).unwrap();
        }
        write(&node, "http://127.0.0.1:1/", &token).unwrap();
        assert_eq!(fs::read_to_string(&other).unwrap(), "theirs");
        let linked = |name: &str| fs::symlink_metadata(node.join(name)).unwrap().is_symlink();
        assert!(!linked("node.url") && !linked("private/api_auth_token") && linked("private/aliases"));
        fs::rename(node.join("private"), folder.path().join("elsewhere")).unwrap();
        symlink("../elsewhere", node.join("private")).unwrap();
        let error = write(&node, "http://127.0.0.1:1/", &token).unwrap_err();
        assert!(error.to_string().contains("symbolic link"), "{error}");
    }
}
