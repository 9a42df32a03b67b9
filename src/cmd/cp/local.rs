//! From the grid to this machine.

use std::path::{Path, PathBuf};

use anyhow::Context;
use client::Client;
use client::copy::{DownloadOptions, Downloaded, TreeProgress};
use client::local::Trust;

use super::Copied;
use super::sources::Source;

pub(super) async fn copy(
    client: &Client,
    sources: &[Source],
    to: &str,
    caps_only: bool,
    tree: &TreeProgress,
) -> anyhow::Result<Copied> {
    let target = Path::new(to);
    let mut copied = Copied::default();
    let options = |root| DownloadOptions { trust: Trust::Foreign, root, caps_only, progress: tree.clone() };
    if let [Source::GridFile { child, .. }] = sources
        && !target.is_dir()
        && !to.ends_with('/')
    {
        let name = target.file_name().and_then(|name| name.to_str());
        let name = name.with_context(|| format!("{to} names no file"))?;
        let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty());
        let place = (folder.unwrap_or(Path::new(".")), name);
        let done = client.download_file(child.cap(), &child.metadata, place, options(None)).await?;
        add(&mut copied, done);
        return Ok(copied);
    }
    let is_there = target.is_dir();
    anyhow::ensure!(
        is_there || !target.exists(),
        "{to} is a file: several things or a directory need a folder"
    );
    check(sources, target)?;
    for source in sources {
        let done = match source {
            Source::GridFile { name, child } => {
                let name =
                    name.as_ref().context("a file given by its cap alone has no name to be copied under")?;
                let place = (target, name.as_str());
                client.download_file(child.cap(), &child.metadata, place, options(None)).await?
            }
            Source::GridDirectory { name, child, .. } => {
                let place =
                    name.as_ref().map_or_else(|| target.to_owned(), |name| target.join(name.as_str()));
                // What is there keeps its own times.
                let root = (!place.exists()).then(|| child.metadata.clone());
                client.download_tree(child.cap(), &place, options(root)).await?
            }
            Source::LocalFile(..) | Source::LocalFolder { .. } => anyhow::bail!("what is local stays local"),
        };
        add(&mut copied, done);
    }
    Ok(copied)
}

/// Refuses what would be in the way, before anything is copied.
fn check(sources: &[Source], target: &Path) -> anyhow::Result<()> {
    for source in sources {
        let Some(name) = source.name()? else {
            anyhow::ensure!(
                source.is_directory(),
                "a file given by its cap alone has no name to be copied under: name the target file"
            );
            continue;
        };
        let place: PathBuf = target.join(name.as_str());
        let Ok(found) = std::fs::symlink_metadata(&place) else { continue };
        anyhow::ensure!(
            found.is_dir() == source.is_directory(),
            "{} is in the way: a directory is not replaced by a file, nor a file by a directory",
            place.display()
        );
    }
    Ok(())
}

fn add(copied: &mut Copied, done: Downloaded) {
    copied.files += done.files + done.hard_links;
    copied.directories += done.directories;
    copied.bytes += done.bytes;
    copied.problems(done.problems);
}
