//! `sarsen stats`: count and measure all there is below a directory, in Tahoe's terms.

use std::path::Path;

use caps::Cap;
use client::filestore::Walked;
use encoding::directory::EntryKind;

use super::session;
use super::walk::Walking;
use crate::cli;
use crate::out::{Lines, say};
use crate::sizes;

pub(crate) async fn run(home: &Path, args: &cli::Stats, quiet: bool) -> anyhow::Result<()> {
    session::run(home, quiet, session::HINT, async |session| {
        let at = session.at(&args.path)?;
        let (mut walking, root) = Walking::begin(session, &at, None).await?;
        let mut stats = Stats::default();
        stats.add(&root);
        while let Some(walked) = walking.next().await {
            stats.add(&walked);
        }
        if args.json {
            say!("{:#}", stats.to_json())?;
        } else {
            stats.print()?;
        }
        walking.end()
    })
    .await
}

/// Tahoe's deep stats. What is met twice is counted once more, as a link, and not what is below it.
#[derive(Default)]
pub(crate) struct Stats {
    immutable_files: u64,
    mutable_files: u64,
    literal_files: u64,
    symlinks: u64,
    directories: u64,
    unknown: u64,
    size_immutable: u64,
    size_literal: u64,
    largest_immutable: u64,
    largest_children: u64,
    /// Files of each bucket of sizes.
    histogram: Vec<u64>,
    /// Children so far of each directory on the path.
    children: Vec<u64>,
}

impl Stats {
    /// Takes in what a walk came to.
    pub(crate) fn add(&mut self, walked: &Walked) {
        let depth = walked.path.len();
        self.children.resize(depth + 1, 0);
        if let Some(above) = depth.checked_sub(1) {
            self.children[above] += 1;
            self.largest_children = self.largest_children.max(self.children[above]);
        }
        let size = walked.cap.size().unwrap_or(0);
        match (walked.kind(), &walked.cap) {
            (EntryKind::Directory, _) => self.directories += 1,
            (EntryKind::Unknown, _) => self.unknown += 1,
            (EntryKind::Symlink, _) => self.symlinks += 1,
            (EntryKind::File, cap) if cap.is_mutable() => self.mutable_files += 1,
            (EntryKind::File, Cap::Literal(_)) => {
                self.literal_files += 1;
                self.size_literal += size;
                self.count_size(size);
            }
            (EntryKind::File, _) => {
                self.immutable_files += 1;
                self.size_immutable = self.size_immutable.saturating_add(size);
                self.largest_immutable = self.largest_immutable.max(size);
                self.count_size(size);
            }
        }
    }

    fn count_size(&mut self, size: u64) {
        let bucket = (0..).find(|bucket| size <= bounds(*bucket).1).expect("the last bucket holds all sizes");
        if self.histogram.len() <= bucket {
            self.histogram.resize(bucket + 1, 0);
        }
        self.histogram[bucket] += 1;
    }

    fn fields(&self) -> [(&'static str, u64); 12] {
        let files = self.immutable_files + self.mutable_files + self.literal_files;
        [
            ("count-immutable-files", self.immutable_files),
            ("count-mutable-files", self.mutable_files),
            ("count-literal-files", self.literal_files),
            ("count-files", files),
            ("count-symlinks", self.symlinks),
            ("count-directories", self.directories),
            ("count-unknown", self.unknown),
            ("size-immutable-files", self.size_immutable),
            ("size-literal-files", self.size_literal),
            ("largest-directory-children", self.largest_children),
            ("largest-immutable-file", self.largest_immutable),
            ("api-version", 1),
        ]
    }

    /// As Tahoe prints it. What directories themselves take is not known here.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        let fields = self.fields().into_iter().map(|(name, value)| (name.to_owned(), value.into()));
        let mut out: serde_json::Map<String, serde_json::Value> = fields.collect();
        let histogram = self.buckets().map(|(least, most, count)| serde_json::json!([least, most, count]));
        out.insert("size-files-histogram".into(), histogram.collect::<Vec<_>>().into());
        out.insert("finished".into(), true.into());
        out.into()
    }

    fn buckets(&self) -> impl Iterator<Item = (u64, u64, u64)> {
        let all = self.histogram.iter().enumerate().filter(|(_, count)| **count > 0);
        all.map(|(bucket, count)| (bounds(bucket).0, bounds(bucket).1, *count))
    }

    fn print(&self) -> anyhow::Result<()> {
        let mut out = Lines::new();
        for (name, value) in self.fields().into_iter().filter(|(name, _)| *name != "api-version") {
            let people = if name.starts_with("size-") || name == "largest-immutable-file" {
                format!("  ({})", sizes::human(value))
            } else {
                String::new()
            };
            out.line(format_args!("{name:>26}: {value}{people}"))?;
        }
        out.line(format_args!("Size Histogram:"))?;
        for (least, most, count) in self.buckets() {
            out.line(format_args!("{least:>14}-{most:<14} : {count}"))?;
        }
        out.finish()
    }
}

/// The smallest and the largest size of a bucket: 0, 1 to 3, 4 to 10, 11 to 31, 32 to 100: two to a power of ten.
fn bounds(bucket: usize) -> (u64, u64) {
    let most = |bucket: usize| -> u64 {
        let power = u32::try_from(bucket / 2).ok().and_then(|power| 10_u64.checked_pow(power));
        match (power, bucket % 2) {
            (Some(power), 0) => power,
            (Some(power), _) => {
                let squared = (u128::from(power) * u128::from(power)).checked_mul(10);
                squared.and_then(|squared| squared.isqrt().try_into().ok()).unwrap_or(u64::MAX)
            }
            (None, _) => u64::MAX,
        }
    };
    match bucket {
        0 => (0, 0),
        1 => (1, 3),
        bucket => (most(bucket - 1) + 1, most(bucket)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_tahoes_and_leave_no_gap() {
        let first: Vec<_> = (0..8).map(bounds).collect();
        let tahoes = [(0, 0), (1, 3), (4, 10), (11, 31), (32, 100), (101, 316), (317, 1000), (1001, 3162)];
        assert_eq!(first, tahoes);
        let mut stats = Stats::default();
        for size in [0, 1, 3, 4, 10, 11, u64::MAX] {
            stats.count_size(size);
        }
        assert_eq!(&stats.histogram[..4], &[1, 2, 2, 1]);
        assert_eq!(stats.buckets().last().map(|(_, most, count)| (most, count)), Some((u64::MAX, 1)));
    }
}
