//! Work that is broken off: by Ctrl-C, by `kill -9` of the client, by `kill -9` of servers.

use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use rustix::process::Signal;

use crate::grid::{Client, Daemon, Grid, ended, eventually, noise, signal};

/// Large enough that a server keeps some of an interrupted share; at the limit below the put takes several seconds.
const LEN: usize = 40_000_000;
const LIMIT: &str = "25MB";

fn slow_put(client: &Client, file: &Path) -> Child {
    let mut command =
        client.command(["put".as_ref(), file.as_os_str(), "--bwlimit".as_ref(), LIMIT.as_ref()]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Waits until every server holds at least this much of a partial share.
fn wait_for_partials(grid: &Grid, at_least: u64) {
    let len = |server: &Daemon| -> u64 {
        let files = fs::read_dir(server.storage().join("partial")).unwrap();
        // A partial share may be committed, and its file gone, while we look.
        files.filter_map(|file| Some(file.ok()?.metadata().ok()?.len())).sum()
    };
    eventually("partial shares grow", || grid.servers.iter().all(|server| len(server) >= at_least));
}

#[test]
fn a_put_that_was_broken_off_goes_on() {
    let grid = Grid::start(4, "2/3/4");
    let whole = 2 * LEN as u64;
    for (how, code) in [(Signal::INT, Some(130)), (Signal::KILL, None)] {
        let seed = 100 + how.as_raw() as u64;
        let file = grid.file("file", seed, LEN);
        let mut put = slow_put(&grid.client, &file);
        wait_for_partials(&grid, 9_000_000);
        signal(&put, how);
        assert_eq!(ended(&mut put).code(), code);
        let done = put.wait_with_output().unwrap();
        assert!(done.stdout.is_empty(), "no cap before the file is stored");
        let json = grid.client.put_json(&file);
        let sent = json["sent"].as_u64().unwrap();
        assert!(sent < whole - 4 * 6_000_000, "{how:?}: {sent} of {whole} bytes were sent again");
        assert!(grid.client.get(json["cap"].as_str().unwrap()) == noise(seed, LEN));
        assert!(json["failures"].as_array().unwrap().is_empty());
    }
}

#[test]
fn a_get_that_was_broken_off_goes_on() {
    let grid = Grid::shared();
    let data = noise(31, LEN);
    let file = grid.path("get");
    fs::write(&file, &data).unwrap();
    let cap = grid.client.put(&file);
    let place = grid.path("got");
    let mark = cap.split(':').nth(3).unwrap()[..8].to_owned();
    let part = grid.path(&format!(".got.{mark}.part"));
    let break_off = || {
        let mut get = grid.client.command(["get", &cap, place.to_str().unwrap(), "--bwlimit", "20MB"]);
        let mut get = get.stderr(Stdio::null()).spawn().unwrap();
        eventually("some of the file is there", || {
            fs::metadata(&part).is_ok_and(|part| part.len() > 10_000_000)
        });
        get.kill().unwrap();
        get.wait().unwrap();
        assert!(!place.exists(), "half a file under the final name");
    };
    break_off();
    let json = grid.client.run(["get", &cap, place.to_str().unwrap(), "--json"]).ok().json();
    let bytes = json["bytes"].as_u64().unwrap();
    assert!(bytes <= LEN as u64 - 9_000_000, "{bytes} bytes were fetched again");
    assert!(fs::read(&place).unwrap() == data && !part.exists());

    // What was left is held against the object, not believed.
    for at in [0, 5_000_000] {
        fs::remove_file(&place).unwrap();
        break_off();
        let mut left = fs::read(&part).unwrap();
        left[at] ^= 1;
        fs::write(&part, left).unwrap();
        let json = grid.client.run(["get", &cap, place.to_str().unwrap(), "--json"]).ok().json();
        assert!(json["bytes"].as_u64().unwrap() >= (LEN - at) as u64);
        assert!(fs::read(&place).unwrap() == data, "a damaged remainder was believed");
    }
    // Rubbish that is longer than the file, and a file that is complete but for its name.
    for left in [vec![7; LEN + 5], data.clone()] {
        fs::remove_file(&place).unwrap();
        fs::write(&part, left).unwrap();
        grid.client.run(["get", &cap, place.to_str().unwrap()]).ok();
        assert!(fs::read(&place).unwrap() == data);
    }
    // An earlier file of that name stays until the new one is complete.
    fs::write(&place, "earlier").unwrap();
    let mut get = grid.client.command(["get", &cap, place.to_str().unwrap(), "--bwlimit", "20MB"]);
    let mut get = get.stderr(Stdio::null()).spawn().unwrap();
    eventually("some of the file is there", || fs::metadata(&part).is_ok_and(|part| part.len() > 1_000_000));
    let second = grid.client.run(["get", &cap, place.to_str().unwrap()]);
    second.fails(1, &["another process is writing"]);
    signal(&get, Signal::INT);
    assert_eq!(ended(&mut get).code(), Some(130));
    assert_eq!(fs::read(&place).unwrap(), b"earlier");
}

#[test]
fn nothing_acknowledged_is_lost_when_servers_are_killed() {
    let mut grid = Grid::start(10, "3/7/10");
    let mut puts = Vec::new();
    for round in 0..10 {
        for (name, seed, len) in [("large", 200 + round, 6_000_000), ("small", 300 + round, 3_000)] {
            let file = grid.file(&format!("{name}{round}"), seed, len);
            puts.push((slow_put(&grid.client, &file), file));
        }
        std::thread::sleep(Duration::from_millis(30 + 37 * round));
        // One to three at a time, so that what is under way may go on with the others or not. They come back at once.
        let victims = (0..=round % 3).map(|step| (round * 3 + step * 4) as usize % 10);
        victims.clone().for_each(|victim| grid.servers[victim].kill());
        victims.for_each(|victim| grid.servers[victim].start());
    }
    let mut stored = Vec::new();
    for (put, file) in puts {
        let done = put.wait_with_output().unwrap();
        match done.status.code() {
            Some(0) => stored.push((String::from_utf8(done.stdout).unwrap().trim().to_owned(), file)),
            Some(5) => assert!(done.stdout.is_empty()),
            code => panic!("{code:?} {}", String::from_utf8_lossy(&done.stderr)),
        }
    }
    assert!(stored.len() >= 10, "only {} of 20 were stored", stored.len());
    // What was reported as stored is on seven servers: any four may stay away.
    grid.servers.iter_mut().for_each(Daemon::kill);
    grid.servers.iter_mut().skip(4).for_each(Daemon::start);
    for (cap, file) in stored {
        assert!(grid.client.get(&cap) == fs::read(&file).unwrap(), "{}", file.display());
    }
}
