//! What the verbs that move whole trees have in common.

use std::path::PathBuf;

use caps::Cap;
use client::Client;
use client::copy::{CopyProblem, Problems, TreeProgress};
use client::local::{Event, Excludes, Kind, Scan};
use encoding::directory::EntryKind;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::long::{escaped, without_controls};
use crate::report::LeftOut;

/// Many files are open at once: as many as the system lets us have.
pub(crate) fn open_many_files() {
    let limit = getrlimit(Resource::Nofile);
    // It is only made likelier that deep and wide trees are copied without a hitch.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

/// Says what went wrong.
pub(crate) fn warn(problems: &Problems) {
    for (path, problem) in &problems.list {
        let path = escaped(&path.to_string_lossy());
        let text = match problem {
            CopyProblem::Skipped(reason) if !reason.is_partial() => format!("cannot copy {path}: {reason}"),
            problem => format!("{path}: {problem}"),
        };
        eprintln!("WARNING: {}", without_controls(&text));
    }
    if problems.more > 0 {
        eprintln!("WARNING: and {} more", problems.more);
    }
}

/// The end of a command that did what it could.
pub(crate) fn end(problems: &Problems) -> anyhow::Result<()> {
    match problems.list.len() as u64 + problems.more {
        0 => Ok(()),
        count => Err(LeftOut { count }.into()),
    }
}

/// Counts what there is to do in local folders, for the bar.
pub(crate) fn count_local(roots: Vec<(PathBuf, Excludes)>, progress: &TreeProgress) {
    let (mut entries, mut bytes) = (0, 0);
    for (root, excludes) in roots {
        // What is wrong with it is told by the walk that counts.
        for event in Scan::new(&root, excludes).into_iter().flatten() {
            if let Event::Entry(entry) = event {
                entries += 1;
                bytes += if entry.kind == Kind::File { entry.metadata.size } else { 0 };
            }
        }
    }
    progress.expect(entries, bytes);
}

/// Counts what there is to do below a directory of the grid, for the bar.
pub(crate) async fn count_grid(client: &Client, root: &Cap, progress: &TreeProgress) {
    let (mut entries, mut bytes) = (0, 0);
    let mut walk = client.walk(root).every_path();
    // What is wrong with it is told by the walk that counts.
    while let Ok(Some(walked)) = walk.next().await {
        if walked.kind() != EntryKind::Directory {
            entries += 1;
            let hint = walked.entry.as_ref().and_then(|entry| entry.metadata.size);
            bytes += walked.cap.size().or(hint).unwrap_or(0);
        }
    }
    progress.expect(entries, bytes);
}
