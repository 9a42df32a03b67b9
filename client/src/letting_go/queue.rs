//! Nodes of directories that a change replaced: let go some time after, in whatever run of this client comes then.
//!
//! They wait in a file of the client's directory. What a crash takes of it is the letting go, and a sweep finds it.

use std::collections::HashSet;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use caps::VerifyHash;
use tokio::time::Instant;

use super::ask::LeaseFilter;
use crate::Client;
use crate::tags::Tag;

/// How long replaced nodes wait: who reads an older record of the directory meanwhile has them under a lease, and after that for the
/// servers' own grace.
pub const GRACE: Duration = Duration::from_secs(3600);
/// Nodes that wait in memory, at most; what comes beyond is for a sweep.
const WAITING_MAX: usize = 100_000;
/// Bytes of the file, at most.
const FILE_MAX: u64 = 8 << 20;

/// Since when, since 1970; the node and the tag of the lease that goes.
type Waiting = (Duration, VerifyHash, Tag);

/// Replaced nodes that wait.
#[derive(Default)]
pub(crate) struct Superseded {
    file: Option<PathBuf>,
    waiting: Mutex<Vec<Waiting>>,
}

impl Superseded {
    /// Those of a client with a directory wait in this file from one run to the next.
    pub(crate) fn kept_in(file: PathBuf) -> Self {
        Self { file: Some(file), waiting: Mutex::default() }
    }

    pub(crate) fn add(&self, now: Duration, tag: Tag, nodes: Vec<VerifyHash>) {
        let mut waiting = self.lock();
        if waiting.len() < WAITING_MAX {
            waiting.extend(nodes.into_iter().map(|node| (now, node, tag)));
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Waiting>> {
        self.waiting.lock().expect("no code panics while it holds this lock")
    }

    /// Writes what waits to the file.
    pub(crate) fn save(&self) {
        let Some(file) = &self.file else { return };
        let waiting = std::mem::take(&mut *self.lock());
        if waiting.is_empty() || std::fs::metadata(file).is_ok_and(|meta| meta.len() > FILE_MAX) {
            return;
        }
        let line = |(at, node, tag): &Waiting| format!("{} {} {}\n", at.as_secs(), hex(node), tag_hex(tag));
        let lines: String = waiting.iter().map(line).collect();
        let written = std::fs::OpenOptions::new().create(true).append(true).open(file);
        if let Err(error) = written.and_then(|mut file| file.write_all(lines.as_bytes())) {
            tracing::info!(%error, "what a directory no longer needs is left for a sweep");
        }
    }

    /// Takes out what waited for `grace`.
    fn take_due(&self, now: Duration, grace: Duration) -> HashSet<(VerifyHash, Tag)> {
        let mut all = self.take_file(now, grace);
        let mut waiting = self.lock();
        all.append(&mut waiting);
        let (due, rest): (Vec<_>, Vec<_>) = all.into_iter().partition(|(at, ..)| *at + grace <= now);
        *waiting = rest;
        due.into_iter().map(|(_, node, tag)| (node, tag)).collect()
    }

    /// All that is in the file, if any of it is due: then the file is gone, and it is for this process to do it or write it anew.
    fn take_file(&self, now: Duration, grace: Duration) -> Vec<Waiting> {
        let Some(file) = &self.file else { return Vec::new() };
        let first = std::fs::File::open(file).ok().and_then(|opened| {
            let mut line = String::new();
            std::io::BufRead::read_line(&mut std::io::BufReader::new(opened), &mut line).ok()?;
            parse(&line)
        });
        // Lines stand by time, or nearly.
        if first.is_none_or(|(at, ..)| at + grace > now) {
            return Vec::new();
        }
        // By its own name nobody else takes it; what another process appends to it until it is read is not lost, or only for a sweep.
        let mine = file.with_extension(format!("{}.tmp", std::process::id()));
        let taken = std::fs::rename(file, &mine).and_then(|()| {
            let text = std::fs::read_to_string(&mine);
            let _ = std::fs::remove_file(&mine);
            text
        });
        taken.map(|text| text.lines().filter_map(parse).collect()).unwrap_or_default()
    }
}

fn parse(line: &str) -> Option<Waiting> {
    let mut words = line.split_ascii_whitespace();
    let at = Duration::from_secs(words.next()?.parse().ok()?);
    let node = blake3::Hash::from_hex(words.next()?).ok()?;
    let tag = u128::from_str_radix(words.next()?, 16).ok()?;
    Some((at, VerifyHash::new(*node.as_bytes()), tag.to_be_bytes()))
}

fn hex(node: &VerifyHash) -> impl std::fmt::Display {
    blake3::Hash::from_bytes(*node.as_bytes()).to_hex()
}

fn tag_hex(tag: &Tag) -> String {
    format!("{:032x}", u128::from_be_bytes(*tag))
}

impl Client {
    /// Lets go what changes of directories replaced at least `grace` ago: the leases that belong to the directory, and no others. A node
    /// belongs to one directory and no later record of that reaches it; but a record is what its writers say, who may be others.
    pub async fn let_go_superseded(&self, grace: Duration) -> super::LetGone {
        let due = self.superseded().take_due(self.now(), grace);
        if due.is_empty() {
            return super::LetGone::default();
        }
        let nodes = due.iter().map(|(node, _)| *node).collect();
        let done = self.cancel_on(nodes, LeaseFilter::Leases(due), Some(Instant::now())).await;
        tracing::info!(nodes = done.objects, bytes = done.bytes, "let go what directories no longer need");
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_is_taken_once_and_the_rest_waits_from_run_to_run() {
        let dir = tempfile::tempdir().expect("there is room");
        let file = dir.path().join("superseded");
        let (hour, node) = (Duration::from_secs(3600), |n| VerifyHash::new([n; 32]));
        let set = |nodes: &[u8]| nodes.iter().map(|n| (node(*n), [7; 16])).collect::<HashSet<_>>();
        let first = Superseded::kept_in(file.clone());
        first.add(Duration::from_secs(10), [7; 16], vec![node(1), node(2)]);
        first.add(Duration::from_secs(500), [7; 16], vec![node(3)]);
        first.save();
        let second = Superseded::kept_in(file.clone());
        assert_eq!(second.take_due(Duration::from_secs(3000), hour), set(&[]));
        assert!(file.exists(), "nothing of it was due");
        assert_eq!(second.take_due(Duration::from_secs(3700), hour), set(&[1, 2]));
        second.save();
        let append = std::fs::OpenOptions::new().append(true).open(&file);
        append.and_then(|mut file| file.write_all(b"rubbish\n7 x")).expect("it is there");
        let third = Superseded::kept_in(file);
        assert_eq!(third.take_due(Duration::from_secs(9000), hour), set(&[3]));
        assert_eq!(third.take_due(Duration::from_secs(9000), hour), set(&[]));
    }
}
