//! Disks that are full, kept free, read-only or closed to the server.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::grid::{Daemon, Grid, PROGRAM, noise, note, run, sarsen};

#[test]
fn a_reserve_is_kept_free() {
    let mut grid = Grid::start(3, "1/2/2");
    let server = &mut grid.servers[0];
    let spec = format!("{},reserve=900T", server.storage().display());
    run(sarsen().args(["server", "disk", "set"]).arg(&server.dir).arg(&spec)).ok();
    server.restart();
    let status = grid.client.status_of("server0");
    assert_eq!(status["stores"][0]["available"], 0, "{status}");
    for seed in 0..4 {
        let file = grid.file("file", 500 + seed, 400_000);
        let json = grid.client.put_json(&file);
        let shares = json["shares"].as_array().unwrap();
        assert!(shares.len() == 2 && shares.iter().all(|share| share["nickname"] != "server0"), "{json}");
        for failure in json["failures"].as_array().unwrap() {
            assert!(failure.as_str().unwrap().contains("no space"), "{failure}");
        }
        assert!(grid.client.get(json["cap"].as_str().unwrap()) == noise(500 + seed, 400_000));
    }
    // With nowhere else to go, the put is refused, and says for want of what.
    let all = grid.another_client("all", "1/3/3");
    let file = grid.file("file", 510, 400_000);
    all.run(["put".as_ref(), file.as_os_str()]).fails(6, &["server0 (", "no space"]);
    // Words that are no sizes, and paths that are no stores.
    let set =
        |spec: String| run(sarsen().args(["server", "disk", "set"]).arg(&grid.servers[0].dir).arg(spec));
    set(format!("{},reserve=much", grid.servers[0].storage().display()))
        .fails(2, &["\"much\" is not a size"]);
    set("/nowhere,reserve=1G".to_owned()).fails(1, &["no store at /nowhere"]);
}

/// A small file system in memory, unmounted when dropped.
struct Tmpfs(PathBuf);

impl Tmpfs {
    fn mount(at: PathBuf, options: &str) -> Option<Self> {
        fs::create_dir(&at).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", options, "sarsen-test"]).arg(&at);
        mount.output().is_ok_and(|done| done.status.success()).then_some(Self(at))
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        assert!(Command::new("umount").arg("--lazy").arg(&self.0).status().unwrap().success());
    }
}

#[test]
fn a_full_disk_loses_nothing() {
    let mut grid = Grid::prepare(3, "1/2/2");
    let Some(small) = Tmpfs::mount(grid.path("small"), "size=12m") else {
        note("the test of a full disk is left out: no file system can be mounted here");
        return;
    };
    // The whole store is on the small disk, its index too.
    let server = &grid.servers[0];
    let storage = server.storage();
    run(sarsen().args(["server", "disk", "remove"]).args([&server.dir, &storage])).ok();
    run(sarsen().args(["server", "disk", "add"]).arg(&server.dir).arg(&small.0)).ok();
    grid.servers.iter_mut().for_each(Daemon::start);
    crate::grid::eventually("all are connected", || grid.client.connected() == 3);
    let mut stored = Vec::new();
    let (mut held, mut refused) = (0, 0);
    for seed in 0..20 {
        // Large ones, and a few that go into packs.
        let len = if seed % 5 == 4 { 30_000 } else { 2_500_000 };
        let file = grid.file("file", 520 + seed, len);
        let json = grid.client.put_json(&file);
        held += json["shares"].as_array().unwrap().iter().filter(|s| s["nickname"] == "server0").count();
        refused += json["failures"].as_array().unwrap().len();
        stored.push((json["cap"].as_str().unwrap().to_owned(), noise(520 + seed, len)));
    }
    assert!(held > 0 && refused > 0, "{held} shares were taken, {refused} refused");
    assert!(grid.servers[0].log().is_empty() || !grid.servers[0].log().contains("panicked"));
    // A stream has no length beforehand, so that the disk fills in the middle of it.
    let data = noise(550, 9_000_000);
    for _ in 0..2 {
        let cap = grid.another_client("streams", "1/2/3").run_with(&["put"], &data);
        fs::remove_dir_all(grid.path("streams")).unwrap();
        stored.push((cap.ok().line(), data.clone()));
    }
    // After a restart, everything is where it was, and the full disk serves what it has.
    for server in &mut grid.servers {
        server.kill();
        server.start();
    }
    assert_eq!(grid.client.status_of("server0")["connected"], true);
    for (cap, data) in &stored {
        assert!(grid.client.get(cap) == *data);
    }
    grid.servers[1].kill();
    grid.servers[2].kill();
    let alone = |cap: &str, data: &[u8]| {
        let ran = grid.client.run(["get", cap]);
        ran.code == Some(0) && ran.out == data
    };
    // Side by side: where the share is elsewhere, each waits for servers that are dead.
    let served = std::thread::scope(|scope| {
        let gets: Vec<_> =
            stored.iter().map(|(cap, data)| scope.spawn(|| usize::from(alone(cap, data)))).collect();
        gets.into_iter().map(|get| get.join().unwrap()).sum::<usize>()
    });
    assert!(served >= held, "the full disk serves its shares alone: {served} of {held}");
}

/// The user `nobody`.
const NOBODY: u32 = 65534;

fn give(path: &Path, user: u32) {
    chown(path, Some(user), Some(user)).unwrap();
    if path.is_dir() {
        fs::read_dir(path).unwrap().for_each(|entry| give(&entry.unwrap().path(), user));
    }
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn rights_that_an_ordinary_user_lacks() {
    let mut grid = Grid::prepare(2, "1/1/2");
    if !rustix::process::geteuid().is_root() {
        note("run by root, this test also covers a server of another user than the files'");
    } else {
        // The user must reach the server's directory and the program.
        mode(grid.folder(), 0o755);
        let program = grid.path("program");
        fs::copy(PROGRAM, &program).unwrap();
        mode(&program, 0o755);
        for server in &mut grid.servers {
            give(&server.dir, NOBODY);
            server.become_user(NOBODY, &program);
        }
    }
    grid.servers.iter_mut().for_each(Daemon::start);
    crate::grid::eventually("all are connected", || grid.client.connected() == 2);
    let stored: Vec<_> = [9_000, 900_000]
        .into_iter()
        .map(|len| (grid.client.put(&grid.file("file", 560, len)), noise(560, len)))
        .collect();
    let state = |grid: &Grid| grid.client.status_of("server0")["stores"][0]["state"].clone();

    // Nothing may be read: the server runs without the store, and others serve.
    grid.servers[0].stop();
    let storage = grid.servers[0].storage();
    mode(&storage, 0o000);
    grid.servers[0].start();
    assert_eq!(state(&grid), "Failed");
    assert!(grid.servers[0].log().contains("Permission denied"), "{}", grid.servers[0].log());
    for (cap, data) in &stored {
        assert!(grid.client.get(cap) == *data);
    }

    // Nothing may be written, and nobody said so in server.toml: the store is not used, and the reason is logged.
    grid.servers[0].stop();
    mode(&storage, 0o700);
    read_only(&storage, true);
    grid.servers[0].start();
    assert_eq!(state(&grid), "Failed");

    // Said so, it serves what it has, and takes nothing.
    grid.servers[0].stop();
    grid.servers[0].configure("read_only = false", "read_only = true");
    grid.servers[0].start();
    assert_eq!(state(&grid), "ReadOnly");
    grid.servers[1].kill();
    for (cap, data) in &stored {
        assert!(grid.client.get(cap) == *data, "a read-only store serves");
    }
    let file = grid.file("file", 570, 500_000);
    grid.client.run(["put".as_ref(), file.as_os_str()]).fails(5, &["read-only"]);
    grid.servers[1].start();
    let json = grid.client.put_json(&file);
    assert!(json["shares"].as_array().unwrap().iter().all(|share| share["nickname"] == "server1"), "{json}");

    // A share file that may not be read costs that share, not the server.
    grid.servers[0].stop();
    read_only(&storage, false);
    grid.servers[0].configure("read_only = true", "read_only = false");
    let share = grid.servers[0].share_files().remove(0);
    mode(&share, 0o000);
    grid.servers[0].start();
    for (cap, data) in &stored {
        assert!(grid.client.get(cap) == *data, "the other server has it too");
    }
}

/// Takes or gives back the right to write, all the way down.
fn read_only(path: &Path, only: bool) {
    let dir = path.is_dir();
    if dir {
        fs::read_dir(path).unwrap().for_each(|entry| read_only(&entry.unwrap().path(), only));
    }
    mode(path, if dir { 0o700 } else { 0o600 } & if only { 0o555 } else { 0o777 });
}
