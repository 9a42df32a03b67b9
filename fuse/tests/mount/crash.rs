//! The mount ends without a word, and begins again.

use std::ffi::OsStr;
use std::path::Path;

use fuse::{JournalError, MountError, Options, ROOT, SetAttr};

use crate::bed::{Bed, ME, Paths, RW, SECOND, noise};

/// What the disk has of a journal at this moment.
pub(crate) fn as_of_now(journal: &Path, to: &Path) {
    for entry in std::fs::read_dir(journal).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_not_sent_is_sent_by_the_next_one() {
    let bed = Bed::new(40).await;
    let (dir, after) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mount = bed.journaled("here", dir.path()).await;
    let synced = mount.write_file("synced", &noise(1, 50_000)).await.unwrap();
    mount.fsync(synced).await.unwrap();
    mount.write_file("gone", b"gone").await.unwrap();
    mount.fsync(ROOT).await.unwrap();
    // From here on the grid hears nothing.
    bed.grid.net.isolate(bed.grid.client_host("here"));
    mount.make_folder("d").await.unwrap();
    mount.make_folder("d/e").await.unwrap();
    mount.write_file("d/e/new", &noise(2, 200_000)).await.unwrap();
    mount.mv("d/e/new", "d/renamed").await.unwrap();
    mount.rm("gone").await.unwrap();
    mount.symlink(ROOT, OsStr::new("link"), b"d".to_vec(), ME).await.unwrap();
    let renamed = mount.at("d/renamed").await.unwrap().ino;
    mount.setattr(renamed, SetAttr { mode: Some(0o600), ..SetAttr::default() }).await.unwrap();
    let known = mount.at("synced").await.unwrap().ino;
    mount.setattr(known, SetAttr { size: Some(40_000), ..SetAttr::default() }).await.unwrap();
    as_of_now(dir.path(), after.path());

    let next = bed.journaled("next", after.path()).await;
    let expected: Vec<u8> = noise(1, 50_000)[..40_000].to_vec();
    assert!(next.read_path("synced").await.unwrap() == expected);
    assert!(next.read_path("d/renamed").await.unwrap() == noise(2, 200_000));
    assert_eq!(next.ls("").await.unwrap(), ["d", "link", "synced"]);
    tokio::time::sleep(SECOND * 5).await;
    let third = bed.mount("third").await;
    assert!(third.read_path("d/renamed").await.unwrap() == noise(2, 200_000));
    assert_eq!(third.at("d/renamed").await.unwrap().mode, 0o600);
    assert!(third.read_path("synced").await.unwrap() == expected);
    assert_eq!(third.ls("").await.unwrap(), ["d", "link", "synced"]);
    assert_eq!(third.ls("d").await.unwrap(), ["e", "renamed"]);
    assert_eq!(next.stop(SECOND * 10).await, 0);
}

#[tokio::test(start_paused = true)]
async fn every_moment_is_a_good_one_to_die() {
    let bed = Bed::new(41).await;
    let dir = tempfile::tempdir().unwrap();
    let mount = bed.journaled("here", dir.path()).await;
    let mut deaths = Vec::new();
    for round in 0..12_u8 {
        mount.write_file(&format!("f{round}"), &noise(round, 20_000)).await.unwrap();
        if round % 3 == 1 {
            mount.mv(&format!("f{round}"), &format!("g{round}")).await.unwrap();
        }
        if round % 4 == 2 {
            mount.fsync(ROOT).await.unwrap();
        }
        let death = tempfile::tempdir().unwrap();
        as_of_now(dir.path(), death.path());
        deaths.push((round, death));
        tokio::time::sleep(std::time::Duration::from_millis(170)).await;
    }
    mount.stop(SECOND * 10).await;
    // Whatever was sent meanwhile: taking an old journal up again loses nothing, and brings nothing twice.
    for (round, death) in deaths {
        let next = bed.journaled("here", death.path()).await;
        for earlier in 0..=round {
            let name = if earlier % 3 == 1 { format!("g{earlier}") } else { format!("f{earlier}") };
            assert!(next.read_path(&name).await.unwrap() == noise(earlier, 20_000), "{name} after {round}");
        }
        assert_eq!(next.stop(SECOND * 30).await, 0);
        let names = bed.mount("look").await.ls("").await.unwrap();
        assert_eq!(names.len(), 12, "{names:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_journal_is_one_mounts_and_tells_nobody() {
    let bed = Bed::new(42).await;
    let dir = tempfile::tempdir().unwrap();
    let mount = bed.journaled("here", dir.path()).await;
    bed.grid.net.isolate(bed.grid.client_host("here"));
    let (_, handle) = mount.create(ROOT, OsStr::new("very-secret-name"), (0o600, ME), RW).await.unwrap();
    mount.write(handle, 0, b"very-secret-content").await.unwrap();
    let client = bed.client("other").await;
    let world = || (bed.grid.clock.clone() as _, bed.grid.random.clone() as _);
    let options = |key| Options { journal: Some((dir.path().to_owned(), key)), ..Options::default() };
    let second = fuse::Mount::start(&client, &bed.root, world(), options([7; 32])).await;
    assert!(matches!(second, Err(MountError::Journal(JournalError::InUse))));
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        assert!(!bytes.windows(11).any(|window| window == b"very-secret"));
    }
    let copy = tempfile::tempdir().unwrap();
    as_of_now(dir.path(), copy.path());
    let options = Options { journal: Some((copy.path().to_owned(), [8; 32])), ..Options::default() };
    let stranger = fuse::Mount::start(&client, &bed.root, world(), options).await;
    assert!(matches!(stranger, Err(MountError::Journal(JournalError::Unreadable { .. }))));
    // What was cut off at the end is not there; what stands before it is.
    let segment = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
    let segment = segment.filter(|path| path.extension().is_some()).max().unwrap();
    let whole = std::fs::read(&segment).unwrap();
    let cut = tempfile::tempdir().unwrap();
    std::fs::write(cut.path().join(segment.file_name().unwrap()), &whole[..whole.len() - 3]).unwrap();
    let next = bed.journaled("cut", cut.path()).await;
    assert_eq!(next.read_path("very-secret-name").await.unwrap(), b"");
}

#[tokio::test(start_paused = true)]
async fn what_went_past_the_journal_replaces_nothing() {
    let bed = Bed::new(43).await;
    let (dir, early, late) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mount = bed.journaled("here", dir.path()).await;
    let good = mount.write_file("good", &noise(3, 40_000)).await.unwrap();
    mount.fsync(good).await.unwrap();
    let large = noise(4, 24_000_000);
    // Synced, and then a little is changed: all of it is there, and the change.
    let synced = mount.write_file("synced", &large).await.unwrap();
    mount.fsync(synced).await.unwrap();
    bed.grid.net.isolate(bed.grid.client_host("here"));
    let handle = mount.open(synced, RW).await.unwrap();
    mount.write(handle, 0, b"head").await.unwrap();
    as_of_now(dir.path(), early.path());
    let next = bed.journaled("early", early.path()).await;
    let mut expected = large.clone();
    expected[..4].copy_from_slice(b"head");
    assert!(next.read_path("synced").await.unwrap() == expected);
    next.stop(SECOND * 60).await;
    drop(next);
    // Written past the journal and put in the place of a good one: that stays. Under a name of its own, there is the front of it.
    mount.write_file("new", &large).await.unwrap();
    mount.write_file("other", &large).await.unwrap();
    mount.mv("new", "good").await.unwrap();
    as_of_now(dir.path(), late.path());
    let next = bed.journaled("late", late.path()).await;
    assert!(next.read_path("good").await.unwrap() == noise(3, 40_000));
    let front = next.read_path("other").await.unwrap();
    assert!(
        !front.is_empty() && front.len() < large.len() && front == large[..front.len()],
        "{}",
        front.len()
    );
    // Ended in order without a grid, all of it is in the journal.
    assert!(mount.stop(SECOND).await > 0);
    let whole = tempfile::tempdir().unwrap();
    as_of_now(dir.path(), whole.path());
    let next = bed.journaled("whole", whole.path()).await;
    assert!(next.read_path("other").await.unwrap() == large);
}

/// A long file, written from front to back.
async fn write_long(mount: &fuse::Mount, name: &str, seed: u8, len: usize) -> (fuse::Ino, fuse::Handle) {
    let (attr, handle) = mount.create(ROOT, OsStr::new(name), (0o600, ME), RW).await.unwrap();
    append_long(mount, handle, 0, &noise(seed, len)).await;
    (attr.ino, handle)
}

async fn append_long(mount: &fuse::Mount, handle: fuse::Handle, from: usize, bytes: &[u8]) {
    for (index, piece) in bytes.chunks(1_000_000).enumerate() {
        mount.write(handle, (from + index * 1_000_000) as u64, piece).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_synced_past_the_journal_stays_whole() {
    let bed = Bed::new(45).await;
    let (dir, after) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mount = bed.journaled("here", dir.path()).await;
    let mut bytes = noise(5, 40_000_000);
    let (ino, handle) = write_long(&mount, "f", 5, 20_000_000).await;
    mount.fsync(ino).await.unwrap();
    append_long(&mount, handle, 20_000_000, &bytes[20_000_000..]).await;
    mount.fsync(ino).await.unwrap();
    bed.grid.net.isolate(bed.grid.client_host("here"));
    mount.write(handle, 0, b"head").await.unwrap();
    bytes[..4].copy_from_slice(b"head");
    as_of_now(dir.path(), after.path());
    let next = bed.journaled("next", after.path()).await;
    assert!(next.read_path("f").await.unwrap() == bytes);
    assert_eq!(next.stop(SECOND * 60).await, 0);
    assert!(bed.mount("look").await.read_path("f").await.unwrap() == bytes);
}

#[tokio::test(start_paused = true)]
async fn a_new_head_of_a_long_file_is_in_the_journal() {
    let bed = Bed::new(46).await;
    let (dir, after) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mount = bed.journaled("here", dir.path()).await;
    bed.grid.net.isolate(bed.grid.client_host("here"));
    let (_, handle) = write_long(&mount, "f", 6, 20_000_000).await;
    mount.write(handle, 0, b"head").await.unwrap();
    as_of_now(dir.path(), after.path());
    let next = bed.journaled("next", after.path()).await;
    let found = next.read_path("f").await.unwrap();
    let mut bytes = noise(6, 20_000_000);
    bytes[..4].copy_from_slice(b"head");
    assert!(found.len() > 16_000_000 && found == bytes[..found.len()]);
}

#[tokio::test(start_paused = true)]
async fn an_end_in_order_keeps_what_went_past_the_journal() {
    let bed = Bed::new(47).await;
    let dir = tempfile::tempdir().unwrap();
    let mount = bed.journaled("here", dir.path()).await;
    let ino = mount.write_file("good", b"the old one").await.unwrap();
    mount.fsync(ino).await.unwrap();
    let handle = mount.open(ino, RW).await.unwrap();
    bed.grid.net.isolate(bed.grid.client_host("here"));
    append_long(&mount, handle, 0, &noise(7, 24_000_000)).await;
    let (_, other) = write_long(&mount, "new", 8, 20_000_000).await;
    mount.write(other, 0, b"head").await.unwrap();
    assert_eq!(mount.stop(std::time::Duration::ZERO).await, 2);
    assert!(!mount.is_lossy());
    drop(mount);
    let next = bed.journaled("next", dir.path()).await;
    assert!(next.read_path("good").await.unwrap() == noise(7, 24_000_000));
    let new = next.read_path("new").await.unwrap();
    assert!(&new[..4] == b"head" && new[4..] == noise(8, 20_000_000)[4..]);
}

#[tokio::test(start_paused = true)]
async fn a_rename_of_what_is_not_whole_leaves_both() {
    let bed = Bed::new(48).await;
    let (dir, after) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mount = bed.journaled("here", dir.path()).await;
    let ino = mount.write_file("dl", b"the old one").await.unwrap();
    mount.fsync(ino).await.unwrap();
    let (ino, handle) = write_long(&mount, "dl.part", 9, 20_000_000).await;
    mount.fsync(ino).await.unwrap();
    bed.grid.net.isolate(bed.grid.client_host("here"));
    append_long(&mount, handle, 20_000_000, &noise(1, 40_000_000)).await;
    mount.mv("dl.part", "dl").await.unwrap();
    as_of_now(dir.path(), after.path());
    let next = bed.journaled("next", after.path()).await;
    assert_eq!(next.ls("").await.unwrap(), ["dl", "dl.part"]);
    assert_eq!(next.read_path("dl").await.unwrap(), b"the old one");
    assert!(next.read_path("dl.part").await.unwrap() == noise(9, 20_000_000));
    assert_eq!(next.stop(SECOND * 60).await, 0);
    assert_eq!(bed.mount("look").await.ls("").await.unwrap(), ["dl", "dl.part"]);
}

#[tokio::test(start_paused = true)]
async fn a_log_that_was_rotated_while_it_was_written_is_not_lost() {
    let bed = Bed::new(49).await;
    let (dir, after) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mount = bed.journaled("here", dir.path()).await;
    let oldest = mount.write_file("log.1", b"the oldest").await.unwrap();
    mount.fsync(oldest).await.unwrap();
    let (ino, handle) = write_long(&mount, "log", 2, 20_000_000).await;
    mount.fsync(ino).await.unwrap();
    bed.grid.net.isolate(bed.grid.client_host("here"));
    append_long(&mount, handle, 20_000_000, &noise(3, 40_000_000)).await;
    mount.mv("log", "log.1").await.unwrap();
    mount.write_file("log", b"the newest").await.unwrap();
    as_of_now(dir.path(), after.path());
    let next = bed.journaled("next", after.path()).await;
    assert_eq!(next.stop(SECOND * 60).await, 0);
    let look = bed.mount("look").await;
    assert_eq!(look.read_path("log").await.unwrap(), b"the newest");
    assert!(look.read_path("log.1").await.unwrap() == noise(2, 20_000_000), "what was synced is somewhere");
}
