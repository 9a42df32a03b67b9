//! `sarsen find`: files by name, kind and size.

use std::path::Path;

use client::filestore::Walked;
use encoding::directory::EntryKind;

use super::walk::Walking;
use super::{long, session};
use crate::cli::{Find, Kind};
use crate::out::Lines;

pub(crate) async fn run(home: &Path, args: &Find, quiet: bool) -> anyhow::Result<()> {
    session::run(home, quiet, session::HINT, async |session| {
        let at = session.at(&args.path)?;
        let (mut walking, root) = Walking::begin(session, &at, None).await?;
        let mut out = Lines::new();
        let mut next = Some(root);
        while let Some(walked) = next {
            let own = walked.path.last().or(at.names.last()).map_or("", |name| name.as_str());
            if is_wanted(&walked, own, args) {
                if args.print0 {
                    out.add(format_args!("{}\0", at.below(&walked.path)))?;
                    next = walking.next().await;
                    continue;
                }
                if args.long {
                    out.add(format_args!("{} ", long::columns(&walked.cap, walked.entry.as_ref())))?;
                }
                let arrow = if args.long { long::arrow(walked.entry.as_ref()) } else { String::new() };
                out.line(format_args!("{}", long::printable(&(at.below(&walked.path) + &arrow))))?;
            }
            next = walking.next().await;
        }
        out.finish()?;
        walking.end()
    })
    .await
}

fn is_wanted(walked: &Walked, own: &str, args: &Find) -> bool {
    let kind = walked.kind();
    let of_kind = args.kind.is_none_or(|wanted| match wanted {
        Kind::F => kind == EntryKind::File,
        Kind::D => kind == EntryKind::Directory,
        Kind::L => kind == EntryKind::Symlink,
    });
    let of_name = args.name.as_ref().is_none_or(|glob| glob.matches(own));
    let of_size = args.size.is_none_or(|test| {
        kind == EntryKind::File
            && long::size(&walked.cap, walked.entry.as_ref()).is_some_and(|size| test.holds(size))
    });
    of_kind && of_name && of_size
}
