//! Counting what is below a directory.

use client::filestore::Walked;
use encoding::directory::EntryKind;
use serde_json::{Value, json};

use super::answer::{Answer, Problem, text};
use super::deep::unreadable;
use super::linked::Call;
use super::operations::{self, Kind, Progress};
use caps::Cap;

/// What a walk has met so far, each thing once for each of its names.
#[derive(Clone, Debug, Default)]
pub(super) struct Totals {
    immutable: u64,
    mutable: u64,
    literal: u64,
    directories: u64,
    unknown: u64,
    size_immutable: u64,
    size_literal: u64,
    largest_immutable: u64,
    /// Bytes of directories, as far as caps say: those that may change do not.
    size_directories: u64,
    largest_directory: u64,
    /// Names in the directory that has most.
    most_children: u64,
    /// Names met in each directory on the path so far.
    open: Vec<u64>,
    histogram: Vec<u64>,
}

impl Totals {
    /// Takes in what the walk came to.
    pub(super) fn count(&mut self, walked: &Walked) {
        let depth = walked.path.len();
        self.open.truncate(depth);
        if let Some(children) = depth.checked_sub(1).and_then(|above| self.open.get_mut(above)) {
            *children += 1;
            self.most_children = self.most_children.max(*children);
        }
        match walked.kind() {
            EntryKind::Directory => {
                self.open.resize(depth + 1, 0);
                self.directories += 1;
                let size = walked.cap.size().unwrap_or_default();
                self.size_directories += size;
                self.largest_directory = self.largest_directory.max(size);
            }
            EntryKind::Unknown => self.unknown += 1,
            EntryKind::File | EntryKind::Symlink => self.file(&walked.cap),
        }
    }

    fn file(&mut self, cap: &Cap) {
        let size = cap.size().unwrap_or_default();
        match cap {
            Cap::Literal(_) => {
                self.literal += 1;
                self.size_literal += size;
            }
            cap if cap.is_mutable() => {
                self.mutable += 1;
                return;
            }
            _ => {
                self.immutable += 1;
                self.size_immutable += size;
                self.largest_immutable = self.largest_immutable.max(size);
            }
        }
        let bucket = buckets().position(|(low, high)| (low..=high).contains(&size)).unwrap_or_default();
        if self.histogram.len() <= bucket {
            self.histogram.resize(bucket + 1, 0);
        }
        self.histogram[bucket] += 1;
    }

    pub(super) fn to_json(&self) -> Value {
        let histogram: Vec<Value> = buckets()
            .zip(&self.histogram)
            .filter(|(_, count)| **count > 0)
            .map(|((low, high), count)| json!([low, high, count]))
            .collect();
        json!({
            "api-version": 1,
            "count-immutable-files": self.immutable,
            "count-mutable-files": self.mutable,
            "count-literal-files": self.literal,
            "count-files": self.immutable + self.mutable + self.literal,
            "count-directories": self.directories,
            "count-unknown": self.unknown,
            "size-immutable-files": self.size_immutable,
            "size-literal-files": self.size_literal,
            "size-directories": self.size_directories,
            "largest-directory": self.largest_directory,
            "largest-directory-children": self.most_children,
            "largest-immutable-file": self.largest_immutable,
            "size-files-histogram": histogram,
        })
    }

    /// Bytes of all files, as far as caps say.
    pub(super) fn bytes(&self) -> u64 {
        self.size_immutable + self.size_literal + self.size_directories
    }
}

/// Tahoe's ranges of sizes: each ends at the next half power of ten.
fn buckets() -> impl Iterator<Item = (u64, u64)> {
    let ends = (1..36).map(|half| 10f64.powf(f64::from(half) / 2.0) as u64);
    let starts = ends.clone().map(|end| end + 1);
    std::iter::once((0, 0)).chain(std::iter::once(1).chain(starts).zip(ends))
}

async fn walk(call: &Call, mut each: impl FnMut(&Totals)) -> Result<Totals, Problem> {
    let root = call.target().await?.cap;
    let mut totals = Totals::default();
    let mut walk = call.client.walk(&root);
    while let Some(walked) = walk.next().await? {
        if let Some(problem) = unreadable(&walked) {
            return Err(problem);
        }
        totals.count(&walked);
        each(&totals);
    }
    Ok(totals)
}

/// `t=start-deep-stats` and `t=start-deep-size`.
pub(super) async fn start(call: &Call) -> Answer {
    let kind = if call.args.t() == "start-deep-size" { Kind::Size } else { Kind::Stats };
    call.target().await?;
    let owned = call.clone();
    operations::start(call, kind, move |progress: Progress| async move {
        let totals = walk(&owned, |totals| progress.totals(totals)).await?;
        progress.totals(&totals);
        Ok(())
    })
}

/// `t=deep-size`: the same at once.
pub(super) async fn size(call: &Call) -> Answer {
    Ok(text(walk(call, |_| {}).await?.bytes().to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_fall_into_tahoes_ranges() {
        let first: Vec<(u64, u64)> = buckets().take(7).collect();
        assert_eq!(first, [(0, 0), (1, 3), (4, 10), (11, 31), (32, 100), (101, 316), (317, 1000)]);
    }
}
