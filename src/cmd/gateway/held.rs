//! The file that says where a client's gateway listens, and that is held as long as it runs.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{FlockOperation, Mode, OFlags, fchmod, flock, ftruncate, open};
use rustix::io::Errno;
use tokio::time::{Instant, sleep};

use crate::report::GatewayError;

const OWNER: Mode = Mode::RUSR.union(Mode::WUSR);

/// Whoever looks whether the file is held, holds it for a moment. Who holds it for longer is a gateway.
const MOMENT: Duration = Duration::from_millis(500);
const LOOK: Duration = Duration::from_millis(20);

/// The file, while it is held: not after this process, however it ends.
pub(super) struct Held(File);

impl Held {
    /// Holds the file. It says nothing yet.
    ///
    /// # Errors
    ///
    /// [`GatewayError::Running`] or [`GatewayError::Starting`] if another process holds it; or it cannot be written.
    pub(super) async fn take(path: &Path) -> anyhow::Result<Self> {
        let cannot = |error: Errno| {
            anyhow::Error::new(io::Error::from(error)).context(format!("cannot write {}", path.display()))
        };
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = File::from(open(path, flags, OWNER).map_err(cannot)?);
        let until = Instant::now() + MOMENT;
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                Err(Errno::WOULDBLOCK) if Instant::now() < until => sleep(LOOK).await,
                Err(Errno::WOULDBLOCK) => return Err(taken(&file)?.into()),
                Err(error) => return Err(cannot(error)),
            }
        }
        fchmod(&file, OWNER).map_err(cannot)?;
        ftruncate(&file, 0).map_err(cannot)?;
        Ok(Self(file))
    }

    /// Writes down what it is to say.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub(super) fn say(&mut self, text: &str) -> io::Result<()> {
        self.0.write_all(format!("{text}\n").as_bytes())
    }
}

fn taken(file: &File) -> io::Result<GatewayError> {
    Ok(match said(file)? {
        Some(url) => GatewayError::Running { url },
        None => GatewayError::Starting,
    })
}

/// The line that the file says, once it is whole.
fn said(mut file: &File) -> io::Result<Option<String>> {
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    Ok(text.strip_suffix('\n').map(str::to_owned))
}

/// What such a file says; nothing, if nobody holds it.
///
/// # Errors
///
/// It cannot be read.
pub(super) fn read_held(path: &Path) -> io::Result<Option<String>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    match flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(None),
        Err(Errno::WOULDBLOCK) => said(&file),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[tokio::test]
    async fn one_holds_it_and_others_are_told_where_that_one_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let read = || read_held(&path).unwrap();
        let take = async || Held::take(&path).await;
        let refused = async || take().await.err().expect("it is held").to_string();
        assert_eq!(read(), None);
        let mut held = take().await.unwrap();
        assert_eq!((read(), refused().await.contains("being started")), (None, true));
        held.say("http://127.0.0.1:1/").unwrap();
        assert_eq!(read().as_deref(), Some("http://127.0.0.1:1/"));
        assert_eq!(refused().await, "a gateway of this client runs already, at http://127.0.0.1:1/");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        drop(held);
        assert_eq!(read(), None, "whoever is gone counts no more");
        let mut held = take().await.unwrap();
        held.say("b").unwrap();
        assert_eq!(read().as_deref(), Some("b"));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[tokio::test]
    async fn who_only_looks_keeps_no_gateway_from_starting() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "").unwrap();
        let looking = File::open(&path).unwrap();
        flock(&looking, FlockOperation::NonBlockingLockShared).unwrap();
        let (taken, ()) = tokio::join!(Held::take(&path), async {
            sleep(MOMENT / 5).await;
            drop(looking);
        });
        taken.unwrap();
    }

    #[tokio::test]
    async fn no_link_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        let other = folder.path().join("other");
        fs::write(&other, "theirs").unwrap();
        symlink(&other, folder.path().join("file")).unwrap();
        assert!(Held::take(&folder.path().join("file")).await.is_err());
        assert_eq!(fs::read_to_string(&other).unwrap(), "theirs");
    }
}
