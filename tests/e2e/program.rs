//! What the program says of itself, and the verbs that need no grid of ours.

use std::fs;
use std::process::{Command, Stdio};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::grid::{ended, eventually, run, sarsen, signal};

#[test]
fn help_is_there_for_everything() {
    let help = run(sarsen().arg("--help")).ok().text();
    for line in [
        "Exit codes:",
        "0  done",
        "2  usage",
        "4  not found",
        "7  unhealthy",
        "8  unrecoverable",
        "130  interrupted",
    ] {
        assert!(help.contains(line), "{line}: {help}");
    }
    let mut todo = vec![vec![]];
    let mut seen = Vec::new();
    while let Some(verb) = todo.pop() {
        let text = run(sarsen().args(&verb).arg("--help")).ok().text();
        assert!(text.contains("Usage: sarsen"), "{verb:?}: {text}");
        let commands = text.lines().skip_while(|line| *line != "Commands:").skip(1);
        for line in commands.take_while(|line| !line.is_empty()) {
            let (name, about) =
                line.trim().split_once(' ').unwrap_or_else(|| panic!("{line:?} says nothing"));
            assert!(!about.trim().is_empty());
            if name != "help" {
                todo.push([verb.clone(), vec![name.to_owned()]].concat());
            }
        }
        seen.push(verb.join(" "));
    }
    for verb in [
        "demo",
        "introducer init",
        "introducer run",
        "server init",
        "server run",
        "server disk add",
        "server disk remove",
        "server disk set",
        "init",
        "put",
        "get",
        "mkdir",
        "ls",
        "mv",
        "ln",
        "rm",
        "manifest",
        "stats",
        "find",
        "tree",
        "diff",
        "du",
        "alias create",
        "create-alias",
        "slot show",
        "slot restore",
        "slot members",
        "slot force",
        "slot delete",
        "status",
        "cap show",
        "share show",
        "share assemble",
        "bench",
        "completions",
        "man",
    ] {
        assert!(seen.iter().any(|seen| seen == verb), "{verb} is not among {seen:?}");
    }
    assert!(run(sarsen().arg("--version")).ok().text().starts_with("sarsen 0."));
}

#[test]
fn completions_and_man_pages() {
    for shell in ["bash", "zsh", "fish"] {
        let script = run(sarsen().args(["completions", shell])).ok().text();
        assert!(script.contains("sarsen") && script.contains("bwlimit") && script.len() > 2000, "{shell}");
    }
    let folder = TempDir::new().unwrap();
    let pages = folder.path().join("man");
    let ran = run(sarsen().arg("man").arg(&pages)).ok();
    assert!(ran.out.is_empty());
    for page in ["sarsen.1", "sarsen-put.1", "sarsen-server-disk-add.1", "sarsen-share-assemble.1"] {
        let text = fs::read_to_string(pages.join(page)).unwrap();
        assert!(text.contains(".SH SYNOPSIS"), "{page}");
    }
    run(sarsen().args(["man", "/dev/null/man"])).fails(1, &["cannot write man pages"]);
}

#[test]
fn the_demo_tells_its_story() {
    let text = run(sarsen().args(["demo", "--once"])).ok().text();
    for line in [
        "1. Start a grid: one introducer and 10 storage servers",
        "2. Put a file of 20.0 MB",
        "durable on 10 servers",
        "URI:CHK:",
        "3. Put it again",
        "0 bytes of shares sent, the same cap",
        "4. Kill 7 of the 10 servers",
        "5. Get it back from the 3 that are left",
        "every byte the same",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    assert_eq!(text.matches(" is gone").count(), 7);
    assert!(!folder_of(&text).exists(), "it cleans up");
}

/// Where the demo says its grid is.
fn folder_of(text: &str) -> std::path::PathBuf {
    let line = text.lines().find_map(|line| line.strip_prefix("   in ")).unwrap();
    line.into()
}

#[test]
fn the_demo_stays_up_until_told() {
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("out");
    let mut demo = sarsen();
    demo.args(["demo", "--servers", "4"]).stdout(fs::File::create(&out).unwrap()).stderr(Stdio::null());
    let mut demo = demo.spawn().unwrap();
    let text = || fs::read_to_string(&out).unwrap();
    eventually("the story is told", || text().contains("sarsen get URI:"));
    // What it prints for another terminal works there.
    let text = text();
    let after = |mark: &str| text.lines().find_map(|line| line.trim().strip_prefix(mark)).unwrap().to_owned();
    let dir = after("export SARSEN_DIR=");
    let line = after("sarsen get ");
    let copy = folder.path().join("copy");
    let mut get = sarsen();
    get.env("SARSEN_DIR", &dir).args(["get", line.split(' ').next().unwrap()]).arg(&copy);
    run(&mut get).ok();
    assert_eq!(fs::metadata(copy).unwrap().len(), 20_000_000);
    signal(&demo, Signal::INT);
    assert_eq!(ended(&mut demo).code(), Some(0));
    assert!(!folder_of(&text).exists(), "it cleans up");
}

#[test]
fn the_benchmark_speaks_json() {
    let json = run(sarsen().args(["bench", "--json", "--size", "4MiB"])).ok().json();
    assert!(json["cores"].as_u64().unwrap() >= 1);
    for (list, name) in [("stages", "stage"), ("grid", "work")] {
        let list = json[list].as_array().unwrap();
        assert!(list.len() >= 3);
        for item in list {
            assert!(item[name].is_string() && item["mb_per_s"].as_f64().unwrap() > 0.0, "{item}");
        }
    }
    for whole in json["grid"].as_array().unwrap() {
        assert!(
            whole["allowed_mb_per_s"].as_f64().unwrap() > 0.0 && whole["share_reached"].is_f64(),
            "{whole}"
        );
    }
    run(sarsen().args(["bench", "--size", "5"])).fails(1, &["at least 1MiB"]);
}

#[test]
fn generated_scripts_are_accepted_by_their_shell() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("completions.bash");
    fs::write(&file, run(sarsen().args(["completions", "bash"])).ok().out).unwrap();
    assert!(Command::new("bash").arg("-n").arg(&file).status().unwrap().success());
}
