//! Many processes at one directory: adding while servers come and go, renaming the same file, being killed in the middle.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use client::filestore::{DirEdit, FileStoreError, Replace};
use client::slot::SlotError;

use crate::grid::{Client, Grid, eventually, noise};

/// Longer than 200 changes take in any race here.
const PATIENCE: Duration = Duration::from_secs(300);
/// What tells this binary that it is a process that adds entries: the client's directory, the directory's cap, the beginning of all names,
/// how many, and the file that gets a line for each that was acknowledged.
const VARIABLE: &str = "SARSEN_TEST_ADDER";

/// This test binary once more, as a process that adds entries one after the other. A process of the program for each would be no other writer
/// to the servers, and takes its time to start.
fn adder(client: &Client, cap: &str, prefix: &str, count: usize, log: &Path) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "racing::adds_entries", "--ignored", "--nocapture"]);
    let what =
        [client.dir.to_str().unwrap(), cap, prefix, &count.to_string(), log.to_str().unwrap()].join("\n");
    command.env(VARIABLE, what).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

#[test]
#[ignore = "what the other tests here run as a process of its own"]
fn adds_entries() {
    let Ok(what) = std::env::var(VARIABLE) else { return };
    let [dir, cap, prefix, count, log] = what.split('\n').collect::<Vec<_>>().try_into().unwrap();
    let mut log = OpenOptions::new().create(true).append(true).open(log).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let client = client::Client::open(Path::new(dir)).unwrap();
        client.refresh().await;
        let caps::Cap::SlotWrite(cap) = cap.parse().unwrap() else { panic!("no write cap") };
        let (begun, mut retries) = (Instant::now(), 0);
        for number in 0..count.parse::<usize>().unwrap() {
            let name: encoding::directory::Name = format!("{prefix}{number}").parse().unwrap();
            let bytes = name.as_str().as_bytes().to_vec();
            let literal = caps::Cap::Literal(caps::Literal { bytes, directory: false });
            let child = Box::new(client::filestore::Child::new(literal, None).unwrap());
            let link = DirEdit::Link { name: name.clone(), child, replace: Replace::No };
            // What a retry cures is no error, and a retry never adds twice: the same entry is found there.
            while let Err(error) = client.edit_entry(&cap, link.clone()).await {
                let retried = matches!(
                    &error,
                    FileStoreError::Slot(
                        SlotError::Unknown { .. } | SlotError::TooFew { .. } | SlotError::Contention { .. }
                    )
                );
                assert!(retried && begun.elapsed() < PATIENCE, "{name}: {error}: {error:?}");
                retries += 1;
            }
            writeln!(log, "{name}").unwrap();
        }
        client.close().await;
        eprintln!("{prefix}: {retries} retries in {:?}", begun.elapsed());
    });
}

/// A directory with an alias; its write cap.
fn directory(client: &Client) -> String {
    client.run(["alias", "create", "d"]).ok();
    client.run(["alias", "list", "--json"]).ok().json()["d"]["readwrite"].as_str().unwrap().to_owned()
}

/// The names in it, each once.
fn names(client: &Client) -> BTreeSet<String> {
    let text = client.run(["ls", "d:"]).ok().text();
    let names: BTreeSet<String> = text.lines().map(str::to_owned).collect();
    assert_eq!(names.len(), text.lines().count());
    names
}

#[test]
fn eight_processes_add_while_servers_come_and_go() {
    let mut grid = Grid::start(10, "3/7/10");
    let cap = directory(&grid.client);
    let clients: Vec<Client> = (0..8).map(|n| grid.another_client(&format!("adder{n}"), "3/7/10")).collect();
    let logs: Vec<_> = (0..8).map(|n| grid.path(&format!("adder{n}.log"))).collect();
    let children: Vec<Child> = clients
        .iter()
        .enumerate()
        .map(|(n, client)| adder(client, &cap, &format!("w{n}-"), 200, &logs[n]))
        .collect();
    let busy = AtomicBool::new(true);
    let servers = &mut grid.servers;
    let rounds = std::thread::scope(|scope| {
        // Two are away at a time, as if their power were cut; eight of ten can always be reached.
        let chaos = scope.spawn(|| {
            let mut rounds = 0;
            while busy.load(Ordering::Relaxed) {
                let (one, other) = (rounds % 10, (rounds + 3) % 10);
                servers[one].kill();
                servers[other].kill();
                std::thread::sleep(Duration::from_millis(500));
                servers[one].start();
                servers[other].start();
                std::thread::sleep(Duration::from_secs(6));
                rounds += 1;
            }
            rounds
        });
        let done: Vec<_> = children.into_iter().map(|child| child.wait_with_output().unwrap()).collect();
        busy.store(false, Ordering::Relaxed);
        for done in done {
            let said = String::from_utf8_lossy(&done.stderr).into_owned();
            let told: Vec<usize> =
                logs.iter().map(|log| fs::read_to_string(log).map_or(0, |log| log.lines().count())).collect();
            assert!(done.status.success(), "{told:?} {said}");
        }
        chaos.join().unwrap()
    });
    assert!(rounds > 1, "servers were killed {rounds} times only");
    let all: BTreeSet<String> = (0..8).flat_map(|w| (0..200).map(move |n| format!("w{w}-{n}"))).collect();
    assert_eq!(names(&grid.client).len(), 1600);
    assert!(names(&grid.client) == all);
    assert_eq!(grid.client.get("d:w7-199"), b"w7-199");
}

#[test]
fn two_who_rename_the_same_file() {
    let grid = Grid::shared();
    let client = grid.another_client("renaming", "3/7/10");
    directory(&client);
    client.run(["mkdir", "d:sub"]).ok();
    for round in 0..6 {
        client.run_with(&["put", "-", "d:x"], b"the only one").ok();
        // Within one directory; and in odd rounds one of them moves it into another.
        let second = if round % 2 == 0 { "d:b" } else { "d:sub/b" };
        let start = |to: &str| {
            let mut command = client.command(["mv", "d:x", to]);
            command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
        };
        let both = [start("d:a"), start(second)].map(|child| child.wait_with_output().unwrap());
        let codes = both.each_ref().map(|done| done.status.code().unwrap());
        let said = both.map(|done| String::from_utf8(done.stderr).unwrap()).join("\n");
        let there = ["d:a", second].map(|path| client.run(["get", path]).code == Some(0));
        assert_eq!(client.run(["get", "d:x"]).code, Some(4), "{codes:?} {said}");
        assert!(there[0] || there[1], "nothing is lost: {codes:?} {said}");
        assert!(codes.contains(&0), "one wins: {codes:?} {said}");
        if round % 2 == 0 {
            assert!(codes.contains(&4) && said.contains("there is no"), "one is told: {codes:?} {said}");
            assert!(there[0] != there[1]);
        } else if there[0] && there[1] {
            // It was linked in both before either was done: whoever came second is told that its work is half done.
            assert!(codes.contains(&3), "{codes:?} {said}");
        }
        for path in ["d:a", second] {
            client.run(["rm", path]);
        }
    }
}

#[test]
fn one_removes_what_another_replaces() {
    let grid = Grid::shared();
    let client = grid.another_client("replacing", "3/7/10");
    directory(&client);
    for round in 0..6_u64 {
        client.run_with(&["put", "-", "d:x"], b"old").ok();
        let file = grid.file("replacing-new", 60 + round, 1000);
        let start = |args: &[&str]| {
            client.command(args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
        };
        let both = [start(&["rm", "d:x"]), start(&["put", file.to_str().unwrap(), "d:x"])];
        for child in both {
            let done = child.wait_with_output().unwrap();
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        }
        let ran = client.run(["get", "d:x"]);
        assert!(ran.code == Some(4) || ran.out == noise(60 + round, 1000), "{ran:?}");
    }
}

#[test]
fn a_writer_that_is_killed_leaves_all_it_was_told_of() {
    let grid = Grid::shared();
    let client = grid.another_client("killed", "3/7/10");
    let cap = directory(&client);
    let log = grid.path("killed.log");
    fs::write(&log, "").unwrap();
    let acknowledged = || -> BTreeSet<String> {
        let text = fs::read_to_string(&log).unwrap();
        text.lines().map(str::to_owned).collect()
    };
    for round in 0..12_u64 {
        let before = acknowledged().len();
        let mut child = adder(&client, &cap, &format!("r{round}-"), 10_000, &log);
        eventually("it adds", || acknowledged().len() > before);
        // A different step each time.
        let moment = u64::from(noise(round, 1)[0]);
        std::thread::sleep(Duration::from_micros(moment * 400));
        child.kill().unwrap();
        child.wait().unwrap();
        let (told, there) = (acknowledged(), names(&client));
        assert!(told.is_subset(&there), "lost: {:?}", told.difference(&there).collect::<Vec<_>>());
        assert!(there.len() <= told.len() + round as usize + 1, "at most the one under way is there besides");
    }
    client.run_with(&["put", "-", "d:last"], b"still writable").ok();
    assert_eq!(client.get("d:last"), b"still writable");
}
