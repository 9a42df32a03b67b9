//! Exit codes, and what is said with them: on stderr, with nothing on stdout.

use std::fs;
use std::process::Stdio;

use rustix::process::Signal;

use crate::grid::{Client, Grid, ended, run, sarsen, share_files, signal};

/// A read cap of the right form that nobody ever stored anything under.
const NEVER_STORED: &str =
    "URI:CHK:aaaaaaaaaaaaaaaaaaaaaaaaaa:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa:3:10:1000";

#[test]
fn wrong_usage_is_2() {
    for args in [
        &[][..],
        &["frobnicate"],
        &["put", "--bwlimit", "fast"],
        &["put", "a", "b", "c"],
        &["mv", "a"],
        &["rm"],
        &["diff", "a"],
        &["get"],
        &["get", "x", "a", "-o", "b"],
        &["get", NEVER_STORED, "--range", "9-5"],
        &["get", NEVER_STORED, "--range", "5"],
        &["init", "--introducer", "http://somewhere"],
        &["init", "--shares", "1/2"],
        &["server", "init", "dir"],
        &["server", "disk", "add", "dir"],
        &["share", "assemble", NEVER_STORED, "file"],
        &["demo", "--servers", "0"],
        &["completions", "cobol"],
    ] {
        run(sarsen().args(args)).fails(2, &["--help"]);
    }
}

#[test]
fn verbs_of_tahoe_lead_on() {
    let verbs = [
        ("create-node", "sarsen server init"),
        ("create-client", "sarsen init"),
        ("run", "sarsen server run"),
        ("webopen", "sarsen gateway url"),
        ("debug", "sarsen cap show"),
    ];
    for (verb, words) in verbs {
        run(sarsen().args([verb, "x"])).fails(2, &["unrecognized", "hint: ", words, "docs/tahoe-users.md"]);
    }
    let ran = run(sarsen().arg("frobnicate")).fails(2, &["unrecognized"]);
    assert!(!ran.err.contains("hint:"), "{}", ran.err);
    assert!(run(sarsen().arg("--version")).ok().text().starts_with("sarsen "));
}

#[test]
fn a_bad_cap_is_2() {
    let grid = Grid::shared();
    let truncated = &NEVER_STORED[..NEVER_STORED.len() - 20];
    let not_canonical = NEVER_STORED.replacen("aaaaaa:aaa", "aaaaab:aaa", 1);
    let k_above_n = NEVER_STORED.replace(":3:10:", ":11:10:");
    let leading_zero = NEVER_STORED.replace(":3:10:", ":03:10:");
    let oversized = format!("URI:LIT:{}", "a".repeat(2000));
    for bad in [
        "",
        "hello",
        "URI",
        "uri:LIT:",
        truncated,
        &not_canonical,
        &k_above_n,
        &leading_zero,
        &oversized,
        "URI:LIT:a b",
        "URI:LIT:1",
        &format!("{NEVER_STORED} "),
        &format!(" {NEVER_STORED}"),
        &format!("{NEVER_STORED}:1"),
        &format!("{NEVER_STORED}\n\n{NEVER_STORED}"),
    ] {
        for verb in [&["get"][..], &["cap", "show"]] {
            // What does not begin as a capability is a path to `get`.
            if verb[0] == "get" && !bad.starts_with("URI:") {
                continue;
            }
            grid.client.run([verb, &[bad]].concat()).fails(2, &["hint: a capability is one line"]);
        }
    }
    let file = grid.path("bad.cap");
    fs::write(&file, truncated).unwrap();
    grid.client.run(["get", &format!("@{}", file.display())]).fails(2, &["hint: a capability is one line"]);
    // What is wrong with it is said without repeating its secret.
    let ran = grid.client.run(["get", &k_above_n]);
    assert!(!ran.err.contains("aaaaaaaaaaaaaa"), "{}", ran.err);
}

#[test]
fn a_missing_client_is_1_with_a_hint() {
    for args in [&["put", "/etc/hostname"][..], &["get", NEVER_STORED], &["status"]] {
        let mut command = sarsen();
        command.args(["--dir", "/nowhere/at/all"]).args(args);
        run(&mut command).fails(1, &["/nowhere/at/all", "hint: make one with `sarsen init"]);
    }
    // The default is named when there is none.
    let mut command = sarsen();
    run(command.arg("status").env("XDG_DATA_HOME", "/nowhere")).fails(1, &["/nowhere/sarsen"]);
}

#[test]
fn a_client_is_made_once() {
    let grid = Grid::shared();
    let again = run(sarsen().arg("init").env("SARSEN_DIR", &grid.client.dir));
    again.fails(1, &["is a client's directory already"]);
}

#[test]
fn what_nobody_stored_is_4() {
    let grid = Grid::shared();
    let ran =
        grid.client.run(["get", NEVER_STORED]).fails(4, &["3 different shares are needed, 0 can be had"]);
    assert_eq!(ran.err.matches("has no share").count(), 10, "every server is named: {}", ran.err);
    let place = grid.path("never-stored");
    grid.client.run(["get", NEVER_STORED, place.to_str().unwrap()]).fails(4, &[]);
    assert!(!place.exists());
}

#[test]
fn a_cap_that_may_not_read_or_was_altered_is_6() {
    let grid = Grid::shared();
    let cap = grid.client.put(&grid.file("altered", 20, 70_000));
    let verify = grid.client.run(["cap", "show", &cap, "--json"]).ok().json();
    let verify = verify["weaker"]["verify"].as_str().unwrap().to_owned();
    grid.client.run(["get", &verify]).fails(6, &["CHK-Verifier", "hint: `sarsen cap show`"]);
    let other = grid.client.put(&grid.file("other", 21, 70_000));
    let field = |cap: &str, n| cap.split(':').nth(n).unwrap().to_owned();
    let forged = [
        cap.replace(":70000", ":70001"),
        cap.replace(":70000", ":69999"),
        cap.replace(":3:10:", ":2:10:"),
        cap.replace(":3:10:", ":3:11:"),
        cap.replace(&field(&cap, 2), &field(&other, 2)),
    ];
    for forged in forged {
        grid.client.run(["get", &forged]).fails(6, &["hint: the capability is damaged or forged"]);
    }
}

#[test]
fn too_few_servers_are_5() {
    let mut grid = Grid::start(4, "2/3/4");
    let file = grid.file("file", 22, 200_000);
    let cap = grid.client.put(&file);
    grid.servers[0].kill();
    grid.servers[1].kill();
    let other = grid.file("other", 23, 200_000);
    let ran = grid.client.run(["put".as_ref(), other.as_os_str()]);
    let ran =
        ran.fails(5, &["2 servers hold a share of their own, 3 are wanted", "hint: put the same file again"]);
    assert!(ran.err.contains("server0 (") && ran.err.contains("server1 ("), "both are named: {}", ran.err);
    let settings = format!("`[shares]` in {}/sarsen.toml sets how many", grid.client.dir.display());
    assert!(ran.err.contains(&settings), "{}", ran.err);
    grid.client.run(["mkdir"]).fails(5, &["2 servers can be reached, and 3 are wanted", &settings]);
    assert_eq!(grid.client.get(&cap).len(), 200_000, "two of four are enough to read");
    grid.servers[2].kill();
    let ran = grid
        .client
        .run(["get", &cap])
        .fails(5, &["2 different shares are needed, 1 can be had", "try again"]);
    for name in ["server0 (", "server1 (", "server2 (", "has share"] {
        assert!(ran.err.contains(name), "{name}: {}", ran.err);
    }
    grid.servers[3].kill();
    let ran = grid.client.run(["status"]);
    assert_eq!(ran.code, Some(5), "{}", ran.err);
    assert!(ran.text().contains("0 of 4 servers answer") && ran.err.contains("no server answers\nhint: "));
    let nobody = grid.another_client("nobody", "1/1/1");
    grid.introducer.kill();
    nobody.run(["put".as_ref(), other.as_os_str()]).fails(5, &["no storage server is known", "hint:"]);
    nobody.run(["get", &cap]).fails(5, &["no storage server is known", "hint: is an introducer running?"]);
    nobody.run(["mkdir"]).fails(5, &["0 servers can be reached", "hint: is an introducer running?"]);
    let alone = Client::new(grid.path("alone"), &[], "1/1/1");
    let hint = format!("hint: no introducer is set in {}/sarsen.toml", alone.dir.display());
    alone.run(["put".as_ref(), other.as_os_str()]).fails(5, &["no storage server is known", &hint]);
    alone.run(["get", &cap]).fails(5, &[&hint]);
    alone.run(["mkdir"]).fails(5, &[&hint]);
    let ran = alone.run(["status", "--json"]);
    assert_eq!((ran.code, ran.json()["servers"].as_array().unwrap().len()), (Some(5), 0));
    assert!(ran.err.contains("no server is known") && ran.err.contains(&hint), "{}", ran.err);
}

#[test]
fn refusals_are_6_and_losses_are_8() {
    let mut grid = Grid::start(3, "2/3/3");
    let file = grid.file("file", 24, 300_000);
    let cap = grid.client.put(&file);
    let other = grid.file("other", 25, 300_000);
    let listed = format!("{{ accounts = [\"{}\"] }}", "a".repeat(52));
    for server in &mut grid.servers {
        server.configure("admission = \"open\"", &format!("admission = {listed}"));
        server.restart();
    }
    let refused = grid.client.run(["put".as_ref(), other.as_os_str()]);
    refused.fails(6, &["not admitted", "hint: the servers refuse"]);
    assert_eq!(grid.client.get(&cap).len(), 300_000, "reading needs no account");
    // Two stores are taken away for good: every server answers, and one share is left.
    for server in &mut grid.servers[..2] {
        server.stop();
        let (dir, storage) = (server.dir.clone(), server.storage());
        run(sarsen().args(["server", "disk", "remove"]).args([&dir, &storage])).ok();
        server.start();
    }
    grid.client.run(["get", &cap]).fails(8, &["2 different shares are needed, 1 can be had"]);
}

#[test]
fn a_damaged_share_file_is_7() {
    let grid = Grid::shared();
    grid.client.put(&grid.file("damaged", 26, 500_000));
    let good = share_files(&grid.servers[0].storage()).remove(0);
    let mut bytes = fs::read(&good).unwrap();
    let bad = grid.path("damaged.share");
    for at in [0, bytes.len() / 2, bytes.len() - 1] {
        bytes[at] ^= 0x10;
        fs::write(&bad, &bytes).unwrap();
        bytes[at] ^= 0x10;
        let show = || grid.client.command(["share".as_ref(), "show".as_ref(), bad.as_os_str()]);
        run(&mut show()).fails(7, &["the share file is not intact", "hint:"]);
        let json = run(show().arg("--json"));
        assert_eq!((json.code, &json.json()["intact"]), (Some(7), &false.into()));
    }
    fs::write(&bad, &bytes[..bytes.len() - 1]).unwrap();
    grid.client.run(["share".as_ref(), "show".as_ref(), bad.as_os_str()]).fails(7, &[]);
    fs::write(&bad, []).unwrap();
    grid.client.run(["share".as_ref(), "show".as_ref(), bad.as_os_str()]).fails(7, &[]);
    grid.client.run(["share", "show", "/nowhere"]).fails(1, &["cannot read /nowhere"]);
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let grid = Grid::shared();
    let cap = grid.client.put(&grid.file("pipe", 27, 5_000_000));
    for args in [
        &["get", &cap][..],
        &["status"],
        &["status", "--json"],
        &["cap", "show", &cap],
        &["completions", "bash"],
        &["--help"],
    ] {
        let mut child =
            grid.client.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let done = child.wait_with_output().unwrap();
        let err = String::from_utf8(done.stderr).unwrap();
        assert!(done.status.success() && err.is_empty(), "{args:?}: {} {err}", done.status);
    }
}

#[test]
fn output_that_cannot_be_written_is_1() {
    let grid = Grid::shared();
    let cap = grid.client.put(&grid.file("full", 28, 100_000));
    for args in [&["get", &cap][..], &["status"], &["cap", "show", &cap]] {
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        run_into(grid.client.command(args), full);
    }
}

#[track_caller]
fn run_into(mut command: std::process::Command, out: fs::File) {
    let done = command.stdout(out).stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
    let err = String::from_utf8(done.stderr).unwrap();
    assert_eq!(done.status.code(), Some(1), "{err}");
    assert!(err.starts_with("sarsen: ") && err.contains("No space left"), "{err}");
}

#[test]
fn ctrl_c_is_130() {
    let grid = Grid::shared();
    let cap = grid.client.put(&grid.file("ctrl-c", 29, 6_000_000));
    let place = grid.path("ctrl-c-out");
    for args in [vec!["put", "-"], vec!["get", &cap, place.to_str().unwrap(), "--bwlimit", "1MB"]] {
        let mut command = grid.client.command(&args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stdin = child.stdin.take();
        std::thread::sleep(std::time::Duration::from_millis(1500));
        signal(&child, Signal::INT);
        let status = ended(&mut child);
        drop(stdin);
        let done = child.wait_with_output().unwrap();
        let err = String::from_utf8(done.stderr).unwrap();
        assert_eq!(status.code(), Some(130), "{args:?} {err}");
        assert!(done.stdout.is_empty() && err.contains("interrupted") && err.contains("hint:"), "{err}");
    }
    assert!(!place.exists());
}
