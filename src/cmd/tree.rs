//! `sarsen tree`: a directory and all below it, indented.

use std::path::Path;

use client::filestore::FileStoreError;
use encoding::directory::EntryKind;

use super::walk::Walking;
use super::{long, session};
use crate::cli::Tree;
use crate::out::Lines;

pub(crate) async fn run(home: &Path, args: &Tree, quiet: bool) -> anyhow::Result<()> {
    session::run(home, quiet, session::HINT, async |session| {
        let at = session.at(&args.path)?;
        let depth = args.depth.map(|depth| depth as usize);
        let (mut walking, root) = Walking::begin(session, &at, depth).await?;
        if root.kind() != EntryKind::Directory {
            return Err(FileStoreError::NotADirectory { path: at.shown() }.into());
        }
        let mut out = Lines::new();
        out.line(format_args!("{}", long::printable(&at.shown())))?;
        let (mut directories, mut others) = (0_u64, 0_u64);
        while let Some(walked) = walking.next().await {
            let kind = walked.kind();
            *if kind == EntryKind::Directory { &mut directories } else { &mut others } += 1;
            let Some(name) = walked.path.last() else { continue };
            // Where the last of a directory stands is known only after all below it: so the lines go on.
            let lines = "|   ".repeat(walked.path.len() - 1);
            let mark = if kind == EntryKind::Directory { "/" } else { "" };
            let again = if walked.again { "  (see above)" } else { "" };
            let name = long::printable(&format!("{name}{mark}{}", long::arrow(walked.entry.as_ref())));
            out.line(format_args!("{lines}|-- {name}{again}"))?;
        }
        out.line(format_args!("\n{directories} directories, {others} files"))?;
        out.finish()?;
        walking.end()
    })
    .await
}
