//! Random calls, held against a file system in memory that is simple enough to be right.

use std::collections::BTreeMap;
use std::ffi::OsStr;

use fuse::{FsError, Kind, Mount, OpenMode, RenameMode, SetAttr};
use testkit::random::SimRandom;

use crate::bed::{Bed, Paths, RW, SECOND, read_all};

/// What stands under a name.
#[derive(Clone, PartialEq, Debug)]
enum Thing {
    File(Vec<u8>),
    Folder(BTreeMap<String, Self>),
}

use Thing::{File, Folder};

/// The file system in memory.
struct Model(Thing);

type Done = Result<(), FsError>;

impl Model {
    fn folder(&mut self, path: &str) -> Result<&mut BTreeMap<String, Thing>, FsError> {
        let mut at = match &mut self.0 {
            Folder(names) => names,
            File(_) => unreachable!("the root is a folder"),
        };
        for name in path.split('/').filter(|name| !name.is_empty()) {
            at = match at.get_mut(name) {
                Some(Folder(names)) => names,
                Some(File(_)) => return Err(FsError::NotADirectory),
                None => return Err(FsError::NotFound),
            };
        }
        Ok(at)
    }

    fn above<'p>(&mut self, path: &'p str) -> Result<(&mut BTreeMap<String, Thing>, &'p str), FsError> {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        Ok((self.folder(folder)?, name))
    }

    fn file(&mut self, path: &str) -> Result<&mut Vec<u8>, FsError> {
        let (names, name) = self.above(path)?;
        match names.get_mut(name) {
            Some(File(bytes)) => Ok(bytes),
            Some(Folder(_)) => Err(FsError::IsADirectory),
            None => Err(FsError::NotFound),
        }
    }

    fn make(&mut self, path: &str, thing: Thing) -> Done {
        let (names, name) = self.above(path)?;
        if names.contains_key(name) {
            return Err(FsError::Exists);
        }
        names.insert(name.to_owned(), thing);
        Ok(())
    }

    fn remove(&mut self, path: &str, folder: bool) -> Done {
        let (names, name) = self.above(path)?;
        match (names.get(name).ok_or(FsError::NotFound)?, folder) {
            (Folder(inside), true) if !inside.is_empty() => return Err(FsError::NotEmpty),
            (Folder(_), false) => return Err(FsError::IsADirectory),
            (File(_), true) => return Err(FsError::NotADirectory),
            _ => {}
        }
        names.remove(name);
        Ok(())
    }

    fn rename(&mut self, from: &str, to: &str, mode: RenameMode) -> Done {
        let thing = {
            let (names, name) = self.above(from)?;
            names.get(name).cloned()
        };
        let there = {
            let (names, name) = self.above(to)?;
            names.get(name).cloned()
        };
        let thing = thing.ok_or(FsError::NotFound)?;
        if from == to {
            return if mode == RenameMode::NoReplace { Err(FsError::Exists) } else { Ok(()) };
        }
        let is_below = |path: &str, above: &str| path.starts_with(&format!("{above}/"));
        if is_below(to, from) {
            return Err(FsError::Invalid);
        }
        match (mode, &there, &thing) {
            (RenameMode::NoReplace, Some(_), _) => return Err(FsError::Exists),
            (RenameMode::Exchange, None, _) => return Err(FsError::NotFound),
            (RenameMode::Exchange, Some(_), _) if is_below(from, to) => return Err(FsError::Invalid),
            (RenameMode::Exchange, ..) | (_, None, _) => {}
            (_, Some(Folder(inside)), Folder(_)) if !inside.is_empty() => return Err(FsError::NotEmpty),
            (_, Some(Folder(_)), File(_)) => return Err(FsError::IsADirectory),
            (_, Some(File(_)), Folder(_)) => return Err(FsError::NotADirectory),
            _ => {}
        }
        let (names, name) = self.above(from)?;
        match there.filter(|_| mode == RenameMode::Exchange) {
            Some(there) => drop(names.insert(name.to_owned(), there)),
            None => drop(names.remove(name)),
        }
        let (names, name) = self.above(to)?;
        names.insert(name.to_owned(), thing);
        Ok(())
    }
}

fn below(rng: &SimRandom, end: usize) -> usize {
    rng.between(0, end as u64 - 1) as usize
}

/// A path of at most three names out of few, so that calls meet.
fn path(rng: &SimRandom) -> String {
    let depth = [1, 1, 1, 2, 2, 3][below(rng, 6)];
    let names: Vec<String> = (0..depth).map(|_| ["a", "b", "c", "d"][below(rng, 4)].to_owned()).collect();
    names.join("/")
}

fn bytes(rng: &SimRandom) -> Vec<u8> {
    let len = [0, 1, 40, 3000, 20_000, 150_000][below(rng, 6)];
    let first = below(rng, 256) as u8;
    (0..len).map(|index| first.wrapping_add((index % 251) as u8)).collect()
}

/// Everything below a folder.
async fn whole(mount: &Mount, path: &str) -> Thing {
    let mut names = BTreeMap::new();
    let listed = mount.ls(path).await;
    for name in listed.unwrap_or_else(|error| panic!("{path}: {error}")) {
        let path = if path.is_empty() { name.clone() } else { format!("{path}/{name}") };
        let attr = mount.at(&path).await.unwrap();
        let thing = match attr.kind {
            Kind::Folder => Box::pin(whole(mount, &path)).await,
            _ => {
                let bytes = mount.read_path(&path).await.unwrap();
                assert_eq!(attr.size, bytes.len() as u64, "{path}");
                File(bytes)
            }
        };
        names.insert(name, thing);
    }
    Folder(names)
}

async fn write_at(mount: &Mount, path: &str, at: u64, bytes: &[u8]) -> Done {
    let ino = mount.at(path).await?.ino;
    let handle = mount.open(ino, RW).await?;
    let written = mount.write(handle, at, bytes).await;
    mount.release(handle);
    written.map(drop)
}

async fn step(mount: &Mount, model: &mut Model, rng: &SimRandom) {
    let (one, two) = (path(rng), path(rng));
    let (here, expected, what): (Done, Done, String) = match below(rng, 100) {
        0..20 => {
            let bytes = bytes(rng);
            let there = model.file(&one).map(drop);
            let expected = match there {
                Err(FsError::NotFound) => model.make(&one, File(bytes.clone())),
                Ok(()) => model.file(&one).map(|file| file.clone_from(&bytes)),
                Err(error) => Err(error),
            };
            (mount.write_file(&one, &bytes).await.map(drop), expected, format!("write {one}"))
        }
        20..35 => {
            let (bytes, at) = (bytes(rng), below(rng, 100_000) as u64);
            let expected = model.file(&one).map(|file| {
                let end = at as usize + bytes.len();
                if !bytes.is_empty() {
                    file.resize(file.len().max(end), 0);
                    file[at as usize..end].copy_from_slice(&bytes);
                }
            });
            (write_at(mount, &one, at, &bytes).await, expected, format!("write {one} at {at}"))
        }
        35..43 => {
            let size = below(rng, 200_000);
            let expected = model.file(&one).map(|file| file.resize(size, 0));
            let here = async {
                let ino = mount.at(&one).await?.ino;
                mount.setattr(ino, SetAttr { size: Some(size as u64), ..SetAttr::default() }).await.map(drop)
            };
            (here.await, expected, format!("truncate {one} to {size}"))
        }
        43..53 => (
            mount.make_folder(&one).await.map(drop),
            model.make(&one, Folder(BTreeMap::new())),
            format!("mkdir {one}"),
        ),
        53..60 => (mount.rm(&one).await, model.remove(&one, false), format!("rm {one}")),
        60..64 => {
            let here = async {
                let (folder, name) = mount.above(&one).await?;
                mount.rmdir(folder, name).await
            };
            (here.await, model.remove(&one, true), format!("rmdir {one}"))
        }
        64..82 => {
            let mode =
                [RenameMode::Replace, RenameMode::Replace, RenameMode::NoReplace, RenameMode::Exchange]
                    [below(rng, 4)];
            let here = async {
                let (from, to) = (mount.above(&one).await?, mount.above(&two).await?);
                mount.rename(from, to, mode).await
            };
            (here.await, model.rename(&one, &two, mode), format!("{mode:?} {one} {two}"))
        }
        82..90 => {
            let here = mount.read_path(&one).await;
            let expected = model.file(&one).cloned();
            assert!(
                here == expected,
                "read {one}: {:?} {:?}",
                here.as_ref().map(Vec::len),
                expected.as_ref().map(Vec::len)
            );
            return;
        }
        90..94 => {
            if let Ok(attr) = mount.at(&one).await {
                mount.fsync(attr.ino).await.unwrap();
            }
            return;
        }
        _ => {
            tokio::time::sleep(SECOND / (1 + below(rng, 9) as u32)).await;
            return;
        }
    };
    println!("{what}: {expected:?}");
    assert_eq!(here, expected, "{what}");
}

/// Both must be the same; else where they differ.
fn same(here: &Thing, model: &Thing, path: &str) {
    match (here, model) {
        (File(here), File(model)) => {
            let differ = here.iter().zip(model).position(|(here, model)| here != model);
            assert!(here == model, "{path}: {} and {} bytes, other from {differ:?}", here.len(), model.len());
        }
        (Folder(here), Folder(model)) => {
            let names = |names: &BTreeMap<String, Thing>| names.keys().cloned().collect::<Vec<_>>();
            assert_eq!(names(here), names(model), "{path}/");
            here.iter().for_each(|(name, thing)| same(thing, &model[name], &format!("{path}/{name}")));
        }
        _ => panic!("{path} is a folder in one of them"),
    }
}

fn wanted(name: &str, usual: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

#[test]
fn random_calls_do_what_a_simple_file_system_does() {
    for seed in 0..wanted("SARSEN_MOUNT_SEEDS", 4) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
        runtime.unwrap().block_on(story(seed, wanted("SARSEN_MOUNT_CALLS", 600)));
    }
}

async fn story(seed: u64, calls: u64) {
    let (bed, dir) = (Bed::new(1000 + seed).await, tempfile::tempdir().unwrap());
    let rng = SimRandom::new(seed);
    let mut model = Model(Folder(BTreeMap::new()));
    let mut mount = bed.journaled("here", dir.path()).await;
    for call in 0..calls {
        step(&mount, &mut model, &rng).await;
        if wanted("SARSEN_MOUNT_LOOK", 0) > 0 {
            println!("seed {seed}, after call {call}");
            same(&whole(&mount, "").await, &model.0, "");
        }
        if call % 150 == 149 {
            println!("seed {seed}, call {call}");
            same(&whole(&mount, "").await, &model.0, "");
            // Ended in order, or in the middle of everything: the next one goes on.
            let patience = if below(&rng, 2) == 0 { SECOND * 30 } else { std::time::Duration::ZERO };
            mount.stop(patience).await;
            drop(mount);
            tokio::time::sleep(SECOND * 20).await;
            mount = bed.journaled("here", dir.path()).await;
            println!("seed {seed}, mounted again after {call}");
            same(&whole(&mount, "").await, &model.0, "");
        }
    }
    assert_eq!(mount.stop(SECOND * 60).await, 0);
    same(&whole(&bed.mount("there").await, "").await, &model.0, "");
}

#[tokio::test(start_paused = true)]
async fn open_files_are_one_file() {
    let bed = Bed::new(900).await;
    let mount = bed.mount("here").await;
    let ino = mount.write_file("f", b"0123456789").await.unwrap();
    let reading = mount.open(ino, OpenMode { read: true, ..OpenMode::default() }).await.unwrap();
    let writing = mount.open(ino, RW).await.unwrap();
    mount.write(writing, 5, b"x").await.unwrap();
    assert_eq!(read_all(&mount, reading).await.unwrap(), b"01234x6789");
    assert_eq!(mount.write(reading, 0, b"y").await, Err(FsError::BadHandle));
    let (folder, name) = (fuse::ROOT, OsStr::new("f"));
    mount.rename((folder, name), (folder, OsStr::new("g")), RenameMode::Replace).await.unwrap();
    mount.write(writing, 0, b"z").await.unwrap();
    assert_eq!(mount.read_path("g").await.unwrap(), b"z1234x6789");
}
