//! Indexes made by somebody who means ill: each is refused with an error that says what is wrong, and no server is blamed.

use caps::{Cap, ImmutableRead};
use client::upload::TreeKey;
use client::{Client, DownloadError, Transfer};
use encoding::{FileIndexError, IndexChild, IndexNode, SectionError, Sections};
use testkit::grid::SimGrid;

use crate::support::{SECOND, get, noise, put, within};

const LEN: usize = 5000;

struct Villain {
    client: Client,
    /// A chunk of [`LEN`] bytes.
    chunk: IndexChild,
}

impl Villain {
    async fn new(grid: &mut SimGrid) -> Self {
        let client = grid.client("3/7/10").await;
        let report = put(&client, &noise(70, LEN)).await.unwrap();
        let Cap::ImmutableRead(cap) = report.cap else { panic!("5000 bytes are no literal") };
        Self { client, chunk: IndexChild::new(&cap, None) }
    }

    async fn store(&self, sections: Sections, size: u64) -> (ImmutableRead, [u8; 32]) {
        let transfer = Transfer::default();
        self.client.put_tree(sections, size, TreeKey::Random, false, None, &transfer).await.unwrap()
    }

    async fn node(&self, level: u8, children: &[&IndexChild]) -> IndexChild {
        let node = IndexNode { level, children: children.iter().map(|child| (*child).clone()).collect() };
        let size = children.iter().map(|child| child.size).fold(0, u64::saturating_add);
        let (cap, salt) = self.store(node.sections(), size).await;
        IndexChild::new(&cap, Some(salt))
    }

    /// What a reader says, whole and in ranges.
    async fn refused(&self, cap: &ImmutableRead) -> DownloadError {
        let cap = Cap::ImmutableRead(cap.clone());
        let error = within(SECOND * 60, get(&self.client, &cap)).await.unwrap_err();
        if let Ok(reader) = self.client.open_object(&cap).await {
            let size = reader.size();
            assert!(reader.read(size - 1..size).await.is_err(), "the whole is refused: {error}");
            assert!(reader.complaints().iter().all(|complaint| !complaint.corrupt));
        }
        assert!(!error.is_retryable(), "{error}");
        error
    }

    async fn index_error(&self, cap: &ImmutableRead) -> FileIndexError {
        match self.refused(cap).await {
            DownloadError::Index(error) => error,
            error => panic!("{error}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn honest_trees_of_odd_shapes() {
    let mut grid = SimGrid::start(70, 10).await;
    let villain = Villain::new(&mut grid).await;
    let mut node = villain.node(0, &[&villain.chunk, &villain.chunk]).await;
    for level in 1..=7 {
        node = villain.node(level, &[&node]).await;
    }
    let (bytes, _) = get(&villain.client, &Cap::ImmutableRead(node.cap())).await.unwrap();
    assert!(bytes == noise(70, LEN).repeat(2));
    let deeper = villain.node(8, &[&node]).await;
    assert_eq!(villain.index_error(&deeper.cap()).await, FileIndexError::TooDeep { level: 8 });
}

#[tokio::test(start_paused = true)]
async fn sizes_that_do_not_add_up() {
    let mut grid = SimGrid::start(71, 10).await;
    let villain = Villain::new(&mut grid).await;
    let sections = IndexNode { level: 0, children: vec![villain.chunk.clone()] }.sections();
    let stated = 3 * LEN as u64;
    let (root, _) = villain.store(sections, stated).await;
    assert_eq!(villain.index_error(&root).await, FileIndexError::Size { stated });
    // A sum beyond all numbers.
    let huge = IndexChild { size: u64::MAX, ..villain.chunk.clone() };
    let root = villain.node(0, &[&villain.chunk, &huge]).await;
    assert_eq!(villain.index_error(&root.cap()).await, FileIndexError::Size { stated: u64::MAX });
    // A chunk that is shorter than its index says: its cap is an altered one.
    let longer = IndexChild { size: LEN as u64 + 1, ..villain.chunk.clone() };
    let root = villain.node(0, &[&longer]).await;
    assert!(matches!(villain.refused(&root.cap()).await, DownloadError::Cap(_)));
    // So is one with another k, and one that cannot be is not even looked for.
    let other = IndexChild { needed: 4, ..villain.chunk.clone() };
    let root = villain.node(0, &[&other]).await;
    assert!(matches!(villain.refused(&root.cap()).await, DownloadError::Cap(_)));
    let none = IndexChild { needed: 0, ..villain.chunk.clone() };
    let root = villain.node(0, &[&none]).await;
    assert!(matches!(villain.index_error(&root.cap()).await, FileIndexError::Parameters(_)));
    // A node below the root that covers less than its parent says.
    let leaf = villain.node(0, &[&villain.chunk]).await;
    let wider = IndexChild { size: leaf.size + 1, ..leaf };
    let root = villain.node(1, &[&wider]).await;
    assert!(matches!(villain.refused(&root.cap()).await, DownloadError::Cap(_)));
}

#[tokio::test(start_paused = true)]
async fn kinds_and_levels_in_the_wrong_place() {
    let mut grid = SimGrid::start(72, 10).await;
    let villain = Villain::new(&mut grid).await;
    let leaf = villain.node(0, &[&villain.chunk]).await;
    // An index where a chunk belongs, and a chunk where an index belongs.
    let as_chunk = IndexChild { salt: None, ..leaf.clone() };
    let root = villain.node(0, &[&as_chunk]).await;
    assert_eq!(villain.index_error(&root.cap()).await, FileIndexError::ChildKind);
    let as_node = IndexChild { salt: Some([0; 32]), ..villain.chunk.clone() };
    let root = villain.node(1, &[&as_node]).await;
    assert_eq!(villain.index_error(&root.cap()).await, FileIndexError::ChildKind);
    let root = villain.node(2, &[&leaf]).await;
    assert_eq!(villain.index_error(&root.cap()).await, FileIndexError::Level { level: 0, expected: 1 });
    let salted = IndexChild { salt: Some([0; 32]), ..leaf };
    let root = villain.node(1, &[&salted]).await;
    assert_eq!(villain.index_error(&root.cap()).await, FileIndexError::Salt);
}

#[tokio::test(start_paused = true)]
async fn sections_that_are_no_files() {
    let mut grid = SimGrid::start(73, 10).await;
    let villain = Villain::new(&mut grid).await;
    let good = IndexNode { level: 0, children: vec![villain.chunk.clone()] }.sections();
    let store = async |change: &dyn Fn(&mut Sections)| {
        let mut sections = good.clone();
        change(&mut sections);
        villain.store(sections, LEN as u64).await.0
    };
    let hidden = store(&|sections| sections.b = encoding::Children::default().to_bytes()).await;
    assert_eq!(villain.index_error(&hidden).await, FileIndexError::ChildrenDiffer);
    let rubbish = store(&|sections| sections.a = noise(73, 100)).await;
    assert_eq!(villain.index_error(&rubbish).await, FileIndexError::Malformed);
    let newer = store(&|sections| sections.a[1] = 2).await;
    assert_eq!(villain.index_error(&newer).await, FileIndexError::Version { version: 2 });
    let other = store(&|sections| sections.a[3] = b'p').await;
    assert_eq!(villain.index_error(&other).await, FileIndexError::NotAFile);

    let directory = ImmutableRead { directory: true, ..other };
    assert!(matches!(villain.refused(&directory).await, DownloadError::Directory));
    let error = villain.client.get_tree(&villain.chunk.cap()).await.unwrap_err();
    assert!(matches!(error, DownloadError::NotATree), "{error}");
    let long = Sections { a: vec![0; 17 << 20], b: Vec::new() };
    let (long, _) = villain.store(long, 1).await;
    assert!(matches!(villain.refused(&long).await, DownloadError::TreeTooLong { .. }));
    assert!(matches!(encoding::tree_children(&[0, 1]), Err(SectionError::Length { len: 2 })));
}
