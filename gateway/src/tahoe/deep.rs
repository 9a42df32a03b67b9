//! `t=stream-deep-check` and `t=start-deep-check`: a whole tree.
//!
//! The tree is checked, repaired and leased as one by our own engine, which sees what Tahoe's has no word for: the chunks of large files and
//! the nodes of large directories. Then it is walked by names, and each thing told as it was found. What was not healthy and has no
//! name of its own is told at the end.

use std::collections::HashMap;

use caps::VerifyHash;
use client::check::{CheckOptions, DeepTotals, Health, State};
use client::filestore::{FileStoreError, Walked};
use encoding::directory::{EntryKind, Name};
use serde_json::{Value, json};
use tokio::sync::OwnedSemaphorePermit;

use super::answer::{Answer, Problem, Writer, ascii, streamed};
use super::check::{Brief, index, options};
use super::linked::Call;
use super::operations::{Kind, Progress};
use super::stats::Totals;

/// One thing that a walk came to, with what is known of it.
pub(super) struct Told {
    pub(super) walked: Walked,
    pub(super) brief: Brief,
    pub(super) index: String,
}

/// Everything below the target of a call.
struct Deep {
    call: Call,
    options: CheckOptions,
    known: HashMap<VerifyHash, Brief>,
    /// The room that those take among all of them.
    room: Option<OwnedSemaphorePermit>,
    /// Reports for which there was none, of what was not healthy.
    forgotten: u64,
    found: DeepTotals,
    totals: Totals,
}

impl Deep {
    async fn begin(call: Call, options: CheckOptions) -> Result<Self, Problem> {
        let root = call.target().await?.cap;
        let mut deep = Self {
            options,
            known: HashMap::new(),
            room: None,
            forgotten: 0,
            found: DeepTotals::default(),
            totals: Totals::default(),
            call,
        };
        let mut checking = deep.call.client.check_tree(vec![root], options);
        while let Some(health) = checking.next().await {
            deep.remember(&health);
        }
        deep.found = checking.finish().await;
        Ok(deep)
    }

    /// Keeps a report as long as there is room. What has none is asked for once more when the walk comes to it.
    fn remember(&mut self, health: &Health) {
        match self.call.gateway.tahoe().reports.clone().try_acquire_owned() {
            Ok(more) => {
                match &mut self.room {
                    Some(room) => room.merge(more),
                    room => *room = Some(more),
                }
                self.known.insert(health.hash, Brief::of(health));
            }
            Err(_) => self.forgotten += u64::from(health.now() != State::Healthy),
        }
    }

    /// What the check as a whole has to say against the tree, besides what it says of each thing.
    fn complaint(&self) -> Option<String> {
        let mut all = Vec::new();
        let mut add = |count: u64, what: &str| {
            if count > 0 {
                all.push(format!("{count} {what}"));
            }
        };
        if self.options.renew.is_some() {
            add(self.found.not_renewed, "leases were not renewed");
        }
        add(self.found.unknown, "things are of a kind that is not known here, and were not checked");
        add(self.found.root_only, "trees could not be looked into: of those only the root was checked");
        add(self.forgotten, "unhealthy things are too many to be told one by one");
        (!all.is_empty()).then(|| all.join("; "))
    }

    /// What was found of something that the walk came to.
    async fn tell(&mut self, walked: Walked) -> Told {
        self.totals.count(&walked);
        let found = walked.cap.verify_hash().and_then(|hash| self.known.remove(&hash));
        let brief = match found {
            Some(brief) => brief,
            // Met under another name before, or out of the engine's reach.
            None => match self.call.client.check(&walked.cap, self.options).await {
                Ok(Some(health)) => Brief::of(&health),
                Ok(None) => Brief::Literal,
                Err(_) => Brief::Unknown,
            },
        };
        Told { index: index(&walked.cap), walked, brief }
    }

    /// What is left: parts of something.
    fn nameless(&mut self) -> Vec<Brief> {
        self.known.drain().map(|(_, brief)| brief).filter(|brief| !brief.was_healthy()).collect()
    }
}

pub(super) fn kind(walked: &Walked) -> &'static str {
    match walked.kind() {
        EntryKind::Directory => "directory",
        EntryKind::File | EntryKind::Symlink => "file",
        EntryKind::Unknown => "unknown",
    }
}

/// What all lines about one thing say.
pub(super) fn line(walked: &Walked) -> Value {
    let path: Vec<&str> = walked.path.iter().map(Name::as_str).collect();
    let verify = walked.cap.verify().map(|cap| cap.to_string()).unwrap_or_default();
    json!({ "type": kind(walked), "path": path, "cap": walked.cap.to_string(), "verifycap": verify,
            "repaircap": verify, "storage-index": index(&walked.cap) })
}

pub(super) async fn stream(call: &Call) -> Answer {
    let options = options(&call.args)?;
    // What cannot be read at all is said before anything is sent.
    let target = call.target().await?;
    if target.cap.is_directory() {
        call.client.open_directory(&target.cap).await?;
    }
    let call = call.clone();
    Ok(streamed("text/plain; charset=utf-8", move |writer| write(writer, call, options)))
}

async fn write(mut writer: Writer, call: Call, options: CheckOptions) {
    match lines(&mut writer, call, options).await {
        Ok(Ok(())) => {
            let _ = writer.flush().await;
        }
        // Tahoe's way to say so in the middle of an answer.
        Ok(Err(Problem(failure))) => {
            let _ = writer.write(&ascii(&format!("ERROR: {}\n", failure.text.replace('\n', " ")))).await;
            let _ = writer.flush().await;
        }
        Err(super::answer::Gone) => {}
    }
}

async fn lines(
    writer: &mut Writer,
    call: Call,
    options: CheckOptions,
) -> Result<Result<(), Problem>, super::answer::Gone> {
    let mut deep = match Deep::begin(call, options).await {
        Ok(deep) => deep,
        Err(problem) => return Ok(Err(problem)),
    };
    let root = match deep.call.target().await {
        Ok(target) => target.cap,
        Err(error) => return Ok(Err(error.into())),
    };
    let mut walk = deep.call.client.walk(&root);
    loop {
        let walked = match walk.next().await {
            Ok(Some(walked)) => walked,
            Ok(None) => break,
            Err(error) => return Ok(Err(error.into())),
        };
        if let Some(problem) = unreadable(&walked) {
            return Ok(Err(problem));
        }
        let told = deep.tell(walked).await;
        let mut value = line(&told.walked);
        add(&mut value, &told, options.repair);
        writer.write(&ascii(&(value.to_string() + "\n"))).await?;
    }
    let stats = deep.totals.to_json();
    for brief in deep.nameless() {
        let mut value = json!({ "type": "file", "path": ["(part of a large file or directory)"], "cap": "",
                                "verifycap": "", "repaircap": "", "storage-index": "part" });
        put(&mut value, &brief, "part", options.repair);
        writer.write(&ascii(&(value.to_string() + "\n"))).await?;
    }
    writer.write(&ascii(&(json!({ "type": "stats", "stats": stats }).to_string() + "\n"))).await?;
    Ok(deep.complaint().map_or(Ok(()), |complaint| Err(Problem::bad(complaint))))
}

/// What the walk could not enter.
pub(super) fn unreadable(walked: &Walked) -> Option<Problem> {
    let error: &FileStoreError = walked.opened.as_ref()?.as_ref().err()?;
    let path: Vec<&str> = walked.path.iter().map(Name::as_str).collect();
    Some(Problem::bad(format!("{}: {error}", path.join("/"))))
}

fn add(value: &mut Value, told: &Told, repair: bool) {
    put(value, &told.brief, &told.index, repair);
}

fn put(value: &mut Value, brief: &Brief, index: &str, repair: bool) {
    let field = if repair { "check-and-repair-results" } else { "check-results" };
    value[field] = brief.to_json(index, repair);
}

/// `t=start-deep-check&ophandle=`.
pub(super) async fn start(call: &Call) -> Answer {
    let options = options(&call.args)?;
    let owned = call.clone();
    let kind = Kind::DeepCheck { repair: options.repair, root: index(&call.target().await?.cap) };
    super::operations::start(call, kind, move |progress| run(owned, options, progress))
}

async fn run(call: Call, options: CheckOptions, progress: Progress) -> Result<(), Problem> {
    let mut deep = Deep::begin(call, options).await?;
    let root = deep.call.target().await?.cap;
    let mut walk = deep.call.client.walk(&root);
    while let Some(walked) = walk.next().await? {
        if let Some(problem) = unreadable(&walked) {
            return Err(problem);
        }
        let told = deep.tell(walked).await;
        progress.checked(&told);
        progress.totals(&deep.totals);
    }
    for brief in deep.nameless() {
        progress.part(&brief);
    }
    progress.complains(deep.complaint());
    Ok(())
}
