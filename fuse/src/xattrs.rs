//! Extended attributes: those of users are kept in the entry; two of our own say what the grid knows.

use encoding::directory::{MAX_XATTR_NAME_LEN, MAX_XATTRS_LEN};

use crate::error::FsError;
use crate::mount::Mount;
use crate::types::Ino;

/// The read capability. It is not listed, so that programs that copy attributes do not spread it.
pub(crate) const CAP: &str = "user.sarsen.cap";
/// What a check of the claims of servers says.
const HEALTH: &str = "user.sarsen.health";

/// What to do about an attribute of the same name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum XattrMode {
    /// Replace it or make it.
    Set,
    /// It must not be there.
    Create,
    /// It must be there.
    Replace,
}

impl Mount {
    /// The value of an attribute.
    ///
    /// # Errors
    ///
    /// [`FsError::NoAttribute`], and of what the grid says.
    pub async fn getxattr(&self, ino: Ino, name: &str) -> Result<Vec<u8>, FsError> {
        match name {
            CAP => {
                let state = self.0.state();
                let child = state.node(ino)?.child.as_ref().ok_or(FsError::NoAttribute)?;
                return Ok(child.caps.read.to_string().into_bytes());
            }
            HEALTH => return self.health(ino).await,
            _ => {}
        }
        let state = self.0.state();
        let found = state.node(ino)?.meta.xattrs.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.clone()).ok_or(FsError::NoAttribute)
    }

    async fn health(&self, ino: Ino) -> Result<Vec<u8>, FsError> {
        let cap = self.0.state().node(ino)?.child.as_ref().map(|child| child.cap().clone());
        let Some(cap) = cap else { return Ok(b"not on the grid yet".to_vec()) };
        let what = self.0.in_time(crate::health::of(&self.0.client, &cap)).await?;
        Ok(what.into_bytes())
    }

    /// The names of the attributes that are kept.
    ///
    /// # Errors
    ///
    /// [`FsError`].
    pub fn listxattr(&self, ino: Ino) -> Result<Vec<String>, FsError> {
        let state = self.0.state();
        Ok(state.node(ino)?.meta.xattrs.iter().map(|(name, _)| name.clone()).collect())
    }

    /// Sets an attribute of users.
    ///
    /// # Errors
    ///
    /// [`FsError::Unsupported`] for other namespaces, [`FsError::AttributesTooBig`] if an entry does not hold so much.
    pub async fn setxattr(&self, ino: Ino, name: &str, value: &[u8], mode: XattrMode) -> Result<(), FsError> {
        if !name.starts_with("user.") || name.len() > MAX_XATTR_NAME_LEN {
            return Err(FsError::Unsupported);
        }
        if name.starts_with("user.sarsen.") {
            return Err(FsError::NotPermitted);
        }
        self.change_xattrs(ino, |xattrs| {
            let at = xattrs.binary_search_by(|(known, _)| known.as_str().cmp(name));
            match (at, mode) {
                (Ok(_), XattrMode::Create) => return Err(FsError::Exists),
                (Err(_), XattrMode::Replace) => return Err(FsError::NoAttribute),
                (Ok(at), _) => xattrs[at].1 = value.to_vec(),
                (Err(at), _) => xattrs.insert(at, (name.to_owned(), value.to_vec())),
            }
            let len: usize = xattrs.iter().map(|(name, value)| name.len() + value.len()).sum();
            if len > MAX_XATTRS_LEN { Err(FsError::AttributesTooBig) } else { Ok(()) }
        })
        .await
    }

    /// Takes an attribute away.
    ///
    /// # Errors
    ///
    /// [`FsError::NoAttribute`].
    pub async fn removexattr(&self, ino: Ino, name: &str) -> Result<(), FsError> {
        self.change_xattrs(ino, |xattrs| {
            let at = xattrs.iter().position(|(known, _)| known == name).ok_or(FsError::NoAttribute)?;
            xattrs.remove(at);
            Ok(())
        })
        .await
    }

    async fn change_xattrs(
        &self,
        ino: Ino,
        change: impl FnOnce(&mut Vec<(String, Vec<u8>)>) -> Result<(), FsError>,
    ) -> Result<(), FsError> {
        self.wait_for_place(ino).await?;
        let now = self.0.now();
        let mut state = self.0.state();
        crate::mount::check_changeable(&state, ino)?;
        let mut meta = state.node(ino)?.meta.clone();
        change(&mut meta.xattrs)?;
        meta.ctime = Some(now);
        state.set_meta(ino, meta)?;
        drop(state);
        self.0.wake.notify_one();
        Ok(())
    }
}
