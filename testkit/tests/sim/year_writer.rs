//! Whose files they are: somebody who comes by once a week, adds and changes some, and reads a few old ones.

use caps::{Cap, SlotWrite};
use client::check::{CheckOptions, Grade, State};
use client::filestore::{Child, DirEdit, Replace};
use client::{Client, GetOptions, PutOptions, Source};
use encoding::directory::Name;
use testkit::random::SimRandom;

/// The longest file; the shortest are literals.
const LONGEST: u64 = 30_000;

/// A file as it should be.
struct Kept {
    path: Vec<Name>,
    bytes: Vec<u8>,
}

/// The files, and who writes them.
pub(crate) struct Household {
    client: Client,
    random: SimRandom,
    top: Child,
    folders: Vec<(Vec<Name>, Child)>,
    kept: Vec<Kept>,
    diary: SlotWrite,
}

impl Household {
    /// A directory with three others below it, a mutable file, and the first files.
    pub(crate) async fn begin(client: Client, random: SimRandom) -> Self {
        let top = client.make_directory().await.unwrap();
        let diary = client.make_mutable(Source::bytes(vec![1]), PutOptions::default()).await.unwrap();
        let mut household = Self {
            random,
            folders: vec![(Vec::new(), top.clone())],
            kept: vec![Kept { path: vec![name("diary")], bytes: vec![1] }],
            diary: writer(&diary),
            client,
            top,
        };
        household.link(0, "diary", &diary).await.unwrap();
        for folder in 0..3 {
            household.folder(&format!("folder{folder}")).await.unwrap();
        }
        for _ in 0..16 {
            household.add().await.unwrap();
        }
        household
    }

    pub(crate) fn top(&self) -> Cap {
        self.top.cap().clone()
    }

    pub(crate) fn files(&self) -> u64 {
        self.kept.len() as u64
    }

    /// What is done each week: repair with the write cap, add, change, make a folder now and then, read.
    pub(crate) async fn week(&mut self, week: u64) -> Result<(), String> {
        self.client.refresh().await;
        let options = CheckOptions { grade: Grade::Claimed, repair: true, renew: None };
        let mut checking = self.client.check_tree(vec![self.top()], options);
        while let Some(health) = checking.next().await {
            if health.now() != State::Healthy {
                return Err(format!("{} is not to be mended: {health:?}", health.cap.kind()));
            }
        }
        if checking.finish().await.root_only > 0 {
            return Err("a directory cannot be opened".to_owned());
        }
        // Each directory can be changed.
        for folder in 0..self.folders.len() {
            self.note(folder, week).await?;
        }
        if week.is_multiple_of(12) {
            self.folder(&format!("week{week}")).await?;
        }
        self.add().await?;
        self.write_diary(week).await?;
        let client = self.client.clone();
        self.read_some(&client, 3).await.map(drop)
    }

    /// Replaces the note that stands in a directory.
    async fn note(&mut self, folder: usize, week: u64) -> Result<(), String> {
        let bytes = format!("week {week}").into_bytes();
        let cap = self.store(bytes.clone()).await?;
        let path = self.link(folder, "note", &cap).await?;
        self.kept.retain(|kept| kept.path != path);
        self.kept.push(Kept { path, bytes });
        Ok(())
    }

    async fn write_diary(&mut self, week: u64) -> Result<(), String> {
        let bytes = self.noise(1000 + 50 * week);
        let source = Source::bytes(bytes.clone());
        let written = self.client.overwrite(&self.diary, source, PutOptions::default()).await;
        written.map_err(|error| format!("the diary cannot be written: {error}"))?;
        if let Some(diary) = self.kept.iter_mut().find(|kept| kept.path == [name("diary")]) {
            diary.bytes = bytes;
        }
        Ok(())
    }

    async fn folder(&mut self, text: &str) -> Result<(), String> {
        let made = self.client.make_directory().await.map_err(|error| format!("no directory: {error}"))?;
        let path = self.link(0, text, &made).await?;
        self.folders.push((path, made));
        Ok(())
    }

    /// Adds a file to some directory.
    async fn add(&mut self) -> Result<(), String> {
        let len = self.random.between(1, LONGEST);
        let bytes = self.noise(len);
        let child = self.store(bytes.clone()).await?;
        let folder = self.random.between(0, self.folders.len() as u64 - 1) as usize;
        let path = self.link(folder, &format!("file{}", self.kept.len()), &child).await?;
        self.kept.push(Kept { path, bytes });
        Ok(())
    }

    async fn store(&self, bytes: Vec<u8>) -> Result<Child, String> {
        let put = self.client.put(Source::bytes(bytes), PutOptions::default()).await;
        let report = put.map_err(|error| format!("a file cannot be stored: {error}"))?;
        Child::new(report.cap, None).map_err(|error| error.to_string())
    }

    async fn link(&self, folder: usize, text: &str, child: &Child) -> Result<Vec<Name>, String> {
        let (path, into) = &self.folders[folder];
        let edit = DirEdit::Link { name: name(text), child: Box::new(child.clone()), replace: Replace::Yes };
        let edited = self.client.edit_entry(&writer(into), edit).await;
        edited.map_err(|error| format!("directory {folder} is stuck: {error}"))?;
        Ok(path.iter().cloned().chain([name(text)]).collect())
    }

    /// Reads some files by their paths, whoever `client` is, and holds them against what was stored.
    pub(crate) async fn read_some(&self, client: &Client, count: u64) -> Result<u64, String> {
        for _ in 0..count {
            let some = self.random.between(0, self.kept.len() as u64 - 1) as usize;
            self.read(client, &self.kept[some]).await?;
        }
        Ok(count)
    }

    pub(crate) async fn read_all(&self, client: &Client) -> Result<u64, String> {
        for kept in &self.kept {
            self.read(client, kept).await?;
        }
        Ok(self.files())
    }

    async fn read(&self, client: &Client, kept: &Kept) -> Result<(), String> {
        let path = || kept.path.iter().map(Name::as_str).collect::<Vec<_>>().join("/");
        let root = self.top().read().expect("a write cap reads");
        let target = client.resolve(&root, &kept.path).await;
        let target = target.map_err(|error| format!("{} is not found: {error}", path()))?;
        let mut bytes = Vec::new();
        let read = client.read_file(&target.cap, &mut bytes, GetOptions::default()).await;
        read.map_err(|error| format!("{} cannot be read: {error}", path()))?;
        match bytes == kept.bytes {
            true => Ok(()),
            false => Err(format!("{} has other bytes than were stored", path())),
        }
    }

    fn noise(&self, len: u64) -> Vec<u8> {
        let mut bytes = vec![0; len as usize];
        protocol::Random::fill(&self.random, &mut bytes);
        bytes
    }
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn writer(child: &Child) -> SlotWrite {
    match child.cap() {
        Cap::SlotWrite(cap) => cap.clone(),
        other => panic!("no write cap: {}", other.kind()),
    }
}
