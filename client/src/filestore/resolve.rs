//! From a root and names to what they lead to.

use caps::{Cap, VerifyHash};
use encoding::directory::{Entry, EntryKind, Name};

use super::MAX_DEPTH;
use super::edit::{DirEdit, Refusal, Replace};
use super::error::FileStoreError;
use super::view::DirView;
use crate::Client;

/// What a path leads to.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its strongest cap that the root grants.
    pub cap: Cap,
    /// What its directory says of it; `None` for the root itself.
    pub entry: Option<Entry>,
}

impl Target {
    /// What it is.
    pub fn kind(&self) -> EntryKind {
        self.entry.as_ref().map_or_else(|| Entry::kind_of(&self.cap), |entry| entry.kind)
    }
}

/// The directory that the last name of a path stands in, or is to stand in.
pub struct Place {
    /// The directory.
    pub parent: DirView,
    /// The name.
    pub name: Name,
    /// What is there under that name.
    pub entry: Option<Entry>,
}

impl Client {
    /// What the path from `root` leads to.
    ///
    /// # Errors
    ///
    /// [`FileStoreError::NoEntry`], [`FileStoreError::NotADirectory`] of something in the middle, and what else can fail.
    pub async fn resolve(&self, root: &Cap, names: &[Name]) -> Result<Target, FileStoreError> {
        let Some((last, above)) = names.split_last() else {
            return Ok(Target { cap: root.clone(), entry: None });
        };
        let parent = self.descend(root, above).await?;
        match parent.get(last).await? {
            Some(entry) => Ok(Target { cap: parent.cap_of(&entry)?, entry: Some(entry) }),
            None => Err(FileStoreError::NoEntry { path: path(names) }),
        }
    }

    /// The place that the path from `root` names. Whether there is anything is another question.
    ///
    /// # Errors
    ///
    /// As [`Client::resolve`], of the directories above.
    pub async fn place(&self, root: &Cap, names: &[Name]) -> Result<Place, FileStoreError> {
        let (last, above) =
            names.split_last().ok_or(FileStoreError::IsADirectory { path: "the root".into() })?;
        let parent = self.descend(root, above).await?;
        let entry = parent.get(last).await?;
        Ok(Place { parent, name: last.clone(), entry })
    }

    /// As [`Client::place`], making the directories above where they are missing.
    ///
    /// # Errors
    ///
    /// As [`Client::place`], and [`FileStoreError::ReadOnly`].
    pub async fn make_place(&self, root: &Cap, names: &[Name]) -> Result<Place, FileStoreError> {
        let (last, above) =
            names.split_last().ok_or(FileStoreError::IsADirectory { path: "the root".into() })?;
        let parent = self.make_path(root, above).await?;
        let entry = parent.get(last).await?;
        Ok(Place { parent, name: last.clone(), entry })
    }

    /// The directory at this path, made with all above it where it is missing.
    ///
    /// # Errors
    ///
    /// As [`Client::make_place`].
    pub async fn make_path(&self, root: &Cap, names: &[Name]) -> Result<DirView, FileStoreError> {
        let mut view = self.open_directory(root).await?;
        for (depth, name) in names.iter().enumerate() {
            let cap = match view.get(name).await? {
                Some(entry) => directory_cap(&view, &entry, &names[..=depth])?,
                None => self.make_below(&view, name, &names[..=depth]).await?,
            };
            view = self.open_directory(&cap).await?;
        }
        Ok(view)
    }

    async fn make_below(&self, view: &DirView, name: &Name, names: &[Name]) -> Result<Cap, FileStoreError> {
        let Some(writer) = view.writer() else {
            return Err(FileStoreError::ReadOnly { what: format!("making {}", path(names)) });
        };
        let child = self.make_directory().await?;
        let link = DirEdit::Link { name: name.clone(), child: Box::new(child.clone()), replace: Replace::No };
        match self.edit_entry(writer, link).await {
            Ok(_) => Ok(child.cap().clone()),
            // Somebody else made it meanwhile: theirs it is.
            Err(FileStoreError::Refused(Refusal::Exists { .. })) => {
                let view = self.open_directory(view.cap()).await?;
                match view.get(name).await? {
                    Some(entry) => directory_cap(&view, &entry, names),
                    None => Err(FileStoreError::NoEntry { path: path(names) }),
                }
            }
            Err(error) => Err(error),
        }
    }

    /// Whether the path from `root` leads through the directory of this H, or to it: what would end up below itself. What is not there
    /// leads nowhere.
    ///
    /// # Errors
    ///
    /// [`FileStoreError`].
    pub async fn leads_through(
        &self,
        root: &Cap,
        names: &[Name],
        hash: &VerifyHash,
    ) -> Result<bool, FileStoreError> {
        let mut cap = root.clone();
        for name in names {
            if cap.verify_hash().as_ref() == Some(hash) {
                return Ok(true);
            }
            let view = self.open_directory(&cap).await?;
            let Some(entry) = view.get(name).await? else { return Ok(false) };
            if entry.kind != EntryKind::Directory {
                return Ok(false);
            }
            cap = entry.cap;
        }
        Ok(cap.verify_hash().as_ref() == Some(hash))
    }

    async fn descend(&self, root: &Cap, names: &[Name]) -> Result<DirView, FileStoreError> {
        if names.len() > MAX_DEPTH {
            return Err(FileStoreError::TooDeep);
        }
        let mut view = self.open_directory(root).await?;
        for (depth, name) in names.iter().enumerate() {
            let above = &names[..=depth];
            let entry = view.get(name).await?.ok_or_else(|| FileStoreError::NoEntry { path: path(above) })?;
            let cap = directory_cap(&view, &entry, above)?;
            view = self.open_directory(&cap).await?;
        }
        Ok(view)
    }
}

fn directory_cap(view: &DirView, entry: &Entry, names: &[Name]) -> Result<Cap, FileStoreError> {
    match entry.kind {
        EntryKind::Directory => view.cap_of(entry),
        _ => Err(FileStoreError::NotADirectory { path: path(names) }),
    }
}

fn path(names: &[Name]) -> String {
    names.iter().map(Name::as_str).collect::<Vec<_>>().join("/")
}
