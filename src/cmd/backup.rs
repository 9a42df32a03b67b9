//! `sarsen backup`: a folder becomes an immutable tree below `TO/Archives`, and what is unchanged since the last time is not read.

use std::path::Path;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use anyhow::Context;
use client::backup_db::BackupDb;
use client::copy::{Form, TreeProgress, UploadOptions, Uploaded, UploadedTree};
use client::filestore::{Child, DirEdit, DirView, FileStoreError, Refusal, Replace};
use client::local::Excludes;
use client::{Client, ClientDir};
use encoding::directory::{EntryKind, Name};

use super::recovery;
use super::session::{self, Session};
use super::target::At;
use super::trees;
use crate::cli::Backup;
use crate::out::say;
use crate::{progress, sizes};

const HINT: &str = "run the same command again to go on where it stopped";
/// Backups of one second that are told apart by a number.
const MOST_IN_A_SECOND: u32 = 1000;

pub(crate) async fn run(dir: &Path, args: &Backup, quiet: bool) -> anyhow::Result<()> {
    let begun = Instant::now();
    trees::open_many_files();
    let excludes = excludes(args)?;
    let at = At::parse(&args.to, || Ok(ClientDir::open(dir)?))?;
    // The directory that the path begins at exists on one grid only, and ends with it: the memory of one that was set up anew would
    // claim what is no longer there, even where introducers kept their keys.
    let root = at.root.verify_hash().context("the path begins with nothing that can be changed")?;
    let memory = Arc::new(BackupDb::open(&ClientDir::open(dir)?, root.as_bytes())?);
    let tree = TreeProgress::default();
    let options = UploadOptions {
        form: Form::Immutable,
        excludes: excludes.clone(),
        memory: Some(memory.clone()),
        ignore_timestamps: args.ignore_timestamps,
        progress: tree.clone(),
    };
    let count = {
        let (tree, local) = (tree.clone(), args.local.clone());
        async move {
            let count = move || trees::count_local(vec![(local, excludes)], &tree);
            let _ = tokio::task::spawn_blocking(count).await;
        }
    };
    let outcome = session::run(dir, quiet, HINT, async |Session { client, .. }| {
        let client = &client.under(&at.root);
        let work = async {
            let view = client.make_path(&at.root, &at.names).await.map_err(|error| at.of(error))?;
            view.writer()
                .ok_or_else(|| FileStoreError::ReadOnly { what: format!("writing {}", at.shown()) })?;
            let UploadedTree { root, done } = client.upload_tree(&args.local, options).await?;
            let name = link(client, &view, root).await?;
            anyhow::Ok((name, done))
        };
        progress::follow_tree("backup", &tree, quiet, count, work).await
    })
    .await;
    let kept = memory.flush();
    let (name, done) = outcome?;
    kept?;
    trees::warn(&done.problems);
    print(args, &name, &done, begun)?;
    recovery::remind(&ClientDir::open(dir)?, quiet);
    trees::end(&done.problems)
}

fn excludes(args: &Backup) -> anyhow::Result<Excludes> {
    let mut excludes = Excludes::default();
    for pattern in &args.exclude {
        excludes.add(pattern)?;
    }
    for file in &args.exclude_from {
        excludes.add_file(file)?;
    }
    if args.exclude_vcs {
        excludes.add_vcs();
    }
    Ok(excludes)
}

/// Links the tree as `Archives/<time>` and as `Latest`; the time it got. A reader may see the first without the second, never the other
/// way round where `Archives` was there already.
async fn link(client: &Client, view: &DirView, tree: Child) -> anyhow::Result<String> {
    let writer = view.writer().context("the directory may not be changed")?;
    let [archives, latest] = ["Archives", "Latest"].map(|name| Name::new(name).expect("a name"));
    let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let time = now.replace('T', "_");
    let set_latest = DirEdit::Link { name: latest, child: Box::new(tree.clone()), replace: Replace::Yes };
    // Once more if somebody else makes `Archives` meanwhile.
    for _ in 0..2 {
        let view = client.open_directory(view.cap()).await?;
        if let Some(entry) = view.get(&archives).await? {
            anyhow::ensure!(entry.kind == EntryKind::Directory, "Archives is not a directory");
            let cap = view.cap_of(&entry)?;
            let name = archive(client, &cap, &time, &tree).await?;
            client.edit_entry(writer, set_latest).await?;
            return Ok(name);
        }
        let first = Name::new(&time).context("the time as a name")?;
        let made = client.make_directory_with(vec![(first, tree.clone())]).await?;
        let set_archives =
            DirEdit::Link { name: archives.clone(), child: Box::new(made), replace: Replace::No };
        let mut outcomes = client.edit_directory(writer, vec![set_archives, set_latest.clone()]).await?;
        anyhow::ensure!(outcomes.len() == 2, "a change has an outcome");
        match outcomes.swap_remove(0) {
            Ok(_) => return Ok(time),
            Err(Refusal::Exists { .. }) => {}
            Err(refusal) => return Err(refusal.into()),
        }
    }
    anyhow::bail!("Archives comes and goes")
}

/// Links the tree under its time, or the time with a number.
async fn archive(client: &Client, archives: &caps::Cap, time: &str, tree: &Child) -> anyhow::Result<String> {
    let view = client.open_directory(archives).await?;
    let writer = view.writer();
    let writer = writer.ok_or_else(|| FileStoreError::ReadOnly { what: "writing Archives".into() })?;
    for number in 0..MOST_IN_A_SECOND {
        let text = if number == 0 { time.to_owned() } else { format!("{time}-{number}") };
        let name = Name::new(&text).context("the time as a name")?;
        if view.get(&name).await?.is_some() {
            continue;
        }
        let edit = DirEdit::Link { name, child: Box::new(tree.clone()), replace: Replace::No };
        match client.edit_directory(writer, vec![edit]).await?.pop() {
            Some(Ok(edited)) if edited.before.is_none() => return Ok(text),
            // Somebody else, or the same tree within the same second.
            Some(Ok(_) | Err(Refusal::Exists { .. })) => {}
            Some(Err(refusal)) => return Err(refusal.into()),
            None => anyhow::bail!("a change has an outcome"),
        }
    }
    anyhow::bail!("too many backups within one second")
}

fn print(args: &Backup, name: &str, done: &Uploaded, begun: Instant) -> anyhow::Result<()> {
    let elapsed = begun.elapsed();
    if args.json.json {
        let summary = serde_json::json!({
            "archive": name, "files_uploaded": done.files, "files_reused": done.files_reused,
            "files_skipped": done.files_skipped, "symlinks": done.symlinks,
            "directories_created": done.directories, "directories_reused": done.directories_reused,
            "directories_skipped": done.directories_skipped, "bytes_read": done.bytes,
            "problems": done.problems.list.len() as u64 + done.problems.more,
            "seconds": elapsed.as_secs_f64(),
        });
        return say!("{summary}");
    }
    say!(
        " {} files uploaded ({} reused), {} files skipped, {} directories created ({} reused), {} directories skipped",
        done.files,
        done.files_reused,
        done.files_skipped,
        done.directories,
        done.directories_reused,
        done.directories_skipped
    )?;
    let rounded = humantime::format_duration(std::time::Duration::from_millis(elapsed.as_millis() as u64));
    say!(" backup done, {} read, elapsed time: {rounded}", sizes::human(done.bytes))
}
