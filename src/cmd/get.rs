//! `sarsen get`: fetch a file, by its cap or its path.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::bail;
use caps::{Cap, Literal};
use client::download::{BlockingSink, FileSink, get_literal};
use client::filestore::FileStoreError;
use client::upload::FileSource;
use client::{Client, ClientDir, GetOptions, GetReport, Transfer};
use encoding::directory::EntryKind;
use protocol::{Pool, TokioPool};

use super::target::At;
use super::{long, session};
use crate::cli::Get;
use crate::files::{self, Beside, Place, Regular};
use crate::out::say;
use crate::{progress, sizes};

const HINT: &str = "get it into the same file again to go on where it stopped";

pub(crate) async fn run(
    home: impl Fn() -> anyhow::Result<PathBuf>,
    args: &Get,
    quiet: bool,
) -> anyhow::Result<()> {
    let at = At::parse(&args.path, || Ok(ClientDir::open(&home()?)?))?;
    let transfer = args.bwlimit.map_or_else(Transfer::default, |limit| Transfer::limited(limit.0));
    let options =
        GetOptions { range: args.range.as_ref().map(|range| range.0.clone()), transfer: transfer.clone() };
    let place = args.output.as_deref().or(args.file.as_deref()).filter(|path| !files::is_stdout(path));
    // What cannot be written need not be fetched.
    let place = place.map(Place::find).transpose()?;
    let place = place.as_ref();
    let report = if let (Cap::Literal(literal), []) = (&at.root, at.names.as_slice()) {
        // No grid is needed, nor a client's directory.
        literal_to(literal, place, options).await?
    } else {
        session::run(&home()?, quiet, HINT, async |session| {
            let get = fetch(&session.client, &at, place, options);
            progress::follow("get", &transfer, quiet, get).await
        })
        .await?
    };
    print(&report, args.json.json && place.is_some(), quiet)
}

async fn fetch(
    client: &Client,
    at: &At,
    place: Option<&Place>,
    options: GetOptions,
) -> anyhow::Result<GetReport> {
    let cap = content(client, at).await?;
    match (&cap, place) {
        (Cap::Literal(literal), place) => literal_to(literal, place, options).await,
        (cap, Some(place)) => to_file(client, cap, place, options).await,
        (cap, None) => {
            let mut sink = BlockingSink::new(std::io::stdout(), pool());
            Ok(client.get(cap, &mut sink, options).await?)
        }
    }
}

/// The cap of the bytes that are there now.
async fn content(client: &Client, at: &At) -> anyhow::Result<Cap> {
    let target = at.resolve(client).await?;
    match (target.kind(), &target.cap) {
        (EntryKind::Directory, _) => Err(FileStoreError::IsADirectory { path: at.shown() }.into()),
        (EntryKind::Symlink, _) => {
            bail!("{} is a symbolic link{}", at.shown(), long::arrow(target.entry.as_ref()))
        }
        (_, Cap::SlotWrite(_) | Cap::SlotRead(_)) => {
            client.content_cap(&target.cap).await.map_err(|error| at.of(error))
        }
        _ => Ok(target.cap),
    }
}

async fn literal_to(
    literal: &Literal,
    place: Option<&Place>,
    options: GetOptions,
) -> anyhow::Result<GetReport> {
    let Some(place) = place else {
        return Ok(get_literal(literal, &mut BlockingSink::new(std::io::stdout(), pool()), options).await?);
    };
    let place = match place {
        Place::File(place) => place,
        Place::Stream(path) => return Ok(get_literal(literal, &mut stream(path).await?, options).await?),
    };
    let (beside, mut sink) = fresh(place)?;
    let report = get_literal(literal, &mut sink, options).await?;
    beside.finish().map(|()| report)
}

/// What is no regular file, opened where Ctrl-C is heard while a FIFO waits for its reader.
async fn stream(path: &std::path::Path) -> anyhow::Result<BlockingSink<File>> {
    let path = path.to_owned();
    let file = tokio::task::spawn_blocking(move || files::open_stream(&path)).await??;
    Ok(BlockingSink::new(file, pool()))
}

/// A new file beside its place.
fn fresh(place: &Regular) -> anyhow::Result<(Beside, FileSink)> {
    let beside = Beside::open(place, &format!("{}", std::process::id()))?;
    let sink = FileSink::new(Arc::new(beside.file.try_clone()?), 0, pool());
    Ok((beside, sink))
}

fn pool() -> Arc<dyn Pool> {
    Arc::new(TokioPool)
}

async fn to_file(
    client: &Client,
    cap: &Cap,
    place: &Place,
    options: GetOptions,
) -> anyhow::Result<GetReport> {
    let place = match place {
        Place::File(place) => place,
        Place::Stream(path) => return Ok(client.get(cap, &mut stream(path).await?, options).await?),
    };
    if options.range.is_some() {
        let (beside, mut sink) = fresh(place)?;
        return match client.get(cap, &mut sink, options).await {
            Ok(report) => beside.finish().map(|()| report),
            Err(error) => {
                beside.discard();
                Err(error.into())
            }
        };
    }
    let reader = client.open_object(cap).await?;
    let mark = cap.verify_hash().map_or_else(String::new, |hash| hash.to_string()[..8].to_owned());
    let beside = Beside::open(place, &mark)?;
    let file = Arc::new(beside.file.try_clone()?);
    let have = reader.matching_prefix(Arc::new(FileSource::from(beside.file.try_clone()?))).await?;
    file.set_len(have)?;
    let mut report = GetReport { bytes: 0, complaints: reader.complaints() };
    if have < reader.size() {
        let rest = GetOptions { range: Some(have..reader.size()), transfer: options.transfer };
        let mut sink = FileSink::new(file, have, pool());
        report = reader.read_into(&mut sink, rest).await?;
    }
    beside.finish()?;
    Ok(report)
}

fn print(report: &GetReport, json: bool, quiet: bool) -> anyhow::Result<()> {
    if json {
        let complaints: Vec<_> = report
            .complaints
            .iter()
            .map(|c| {
                serde_json::json!({ "server": c.server.id.to_string(), "nickname": c.server.nickname,
                                         "share": c.number, "what": c.what, "corrupt": c.corrupt })
            })
            .collect();
        say!("{}", serde_json::json!({ "bytes": report.bytes, "complaints": complaints }))?;
        return Ok(());
    }
    if quiet {
        return Ok(());
    }
    for complaint in &report.complaints {
        eprintln!("note: {complaint}");
    }
    eprintln!("{} fetched", sizes::human(report.bytes));
    Ok(())
}
