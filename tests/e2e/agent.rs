//! `sarsen agent` on real servers: it holds what cannot read, heals what died, and says so to people and machines.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use rustix::process::Signal;

use crate::grid::{Grid, ended, eventually, noise, sarsen, signal};

/// All text that is in files below a folder.
fn all_text(folder: &std::path::Path) -> String {
    let mut all = String::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all += &all_text(&path);
        } else {
            all += &String::from_utf8_lossy(&fs::read(path).unwrap());
        }
    }
    all
}

#[test]
fn an_agent_that_cannot_read_heals_what_died_and_says_so() {
    let mut grid = Grid::start(12, "3/7/10");
    let owner = grid.another_client("owner", "3/7/10");
    owner.run(["alias", "create", "d"]).ok();
    owner.run_with(&["put", "-", "d:a/big"], &noise(1, 2_000_000)).ok();
    owner.run_with(&["put", "-", "d:a/small"], &noise(2, 5_000)).ok();
    let repair = owner.run(["cap", "repair", "d:"]).ok().line();

    let agent = grid.another_client("agent", "3/7/10");
    agent.run(["agent", "status"]).ok();
    agent.run(["agent", "run", "--once"]).ok();
    agent.run(["agent", "add", "home", &repair]).ok();
    agent.run(["agent", "add", "home", &repair]).fails(1, &["already"]);
    agent.run(["agent", "add", "nothing", "URI:LIT:nbswy3dp"]).fails(1, &["itself holds it"]);
    agent.run(["agent", "remove", "other"]).fails(4, &["holds nothing called other"]);
    assert!(agent.run(["agent", "list"]).ok().line().ends_with(&repair));
    let held = agent.dir.join("private/agent-roots");
    assert_eq!(fs::metadata(&held).unwrap().permissions().mode() & 0o777, 0o600);
    let told = agent.run(["agent", "run", "--once"]).ok().text();
    assert!(told.contains("home: claimed") && told.contains("4 healthy"), "{told}");
    let status = agent.run(["agent", "status", "--json"]).ok().json();
    let found =
        |status: &serde_json::Value, what: &str| status["roots"]["home"]["found"][what].as_u64().unwrap();
    assert_eq!((found(&status, "healthy"), found(&status, "leased")), (4, 4), "{status:#}");

    for server in &mut grid.servers[0..2] {
        server.kill();
        fs::remove_dir_all(server.storage()).unwrap();
    }
    // Members of directories are replaced by who may write: until then not all is healthy.
    let ran = agent.run(["agent", "run", "--once"]);
    assert!([Some(0), Some(7)].contains(&ran.code), "{}", ran.err);
    let status = agent.run(["agent", "status", "--json"]).ok().json();
    let root = &status["roots"]["home"];
    assert_eq!(found(&status, "unrecoverable"), 0, "{status:#}");
    assert!(found(&status, "repaired") >= 1, "{status:#}");
    assert!(root["ill"].as_object().unwrap().values().all(|ill| ill["kind"] == "slot"), "{status:#}");
    let told = agent.run(["agent", "status"]).ok().text();
    assert!(told.contains("10 of 12 servers") && told.contains("home: claimed"), "{told}");
    let healthy = owner.run(["check", "--verify", "d:a/big"]).ok().text();
    assert!(healthy.contains("10 of 10 shares"), "{healthy}");

    let metrics = fs::read_to_string(agent.dir.join("agent.prom")).unwrap();
    for line in metrics.lines().filter(|line| !line.starts_with("# ")) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        assert!(name.starts_with("sarsen_agent_") && value.parse::<f64>().is_ok(), "{line}");
    }
    assert!(metrics.contains("sarsen_agent_unrecoverable{root=\"home\"} 0\n"), "{metrics}");
    assert!(metrics.contains("sarsen_agent_servers_silent 2\n") && metrics.ends_with("# EOF\n"), "{metrics}");

    // What can read or write is nowhere in its directory, even where it was given.
    let all = owner.run(["alias", "list", "--json"]).ok().json();
    let caps = [&all["d"]["readwrite"], &all["d"]["readonly"]].map(|cap| cap.as_str().unwrap().to_owned());
    agent.run(["agent", "add", "again", &caps[0]]).ok();
    let text = all_text(&agent.dir);
    assert!(text.contains(&repair));
    for cap in &caps {
        let secret = cap.split(':').nth(2).unwrap();
        assert!(!text.contains(secret), "{cap}");
    }
    assert_ne!(agent.run(["ls", &repair]).code, Some(0));
}

#[test]
fn an_agent_runs_until_told_to_stop_and_alone() {
    let grid = Grid::start(3, "1/2/3");
    let owner = grid.another_client("owner", "1/2/3");
    owner.run(["alias", "create", "d"]).ok();
    owner.run(["agent", "add", "d", "d:"]).ok();
    fs::write(owner.dir.join("agent.toml"), "spares = 3\n").unwrap();
    owner.run(["agent", "run"]).fails(1, &["agent.toml", "spares"]);
    fs::write(owner.dir.join("agent.toml"), "[every]\nclaimed = \"1s\"\nfull = \"2s\"\n").unwrap();
    for (how, code) in [(Signal::TERM, 0), (Signal::INT, 130)] {
        let _ = fs::remove_file(owner.dir.join("agent.json"));
        let mut command = sarsen();
        command.arg("--dir").arg(&owner.dir).args(["agent", "run"]).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        eventually("it has fetched all", || {
            let text = fs::read_to_string(owner.dir.join("agent.json")).unwrap_or_default();
            text.contains("\"full\"")
        });
        owner.run(["agent", "run", "--once"]).fails(1, &["is running already"]);
        signal(&child, how);
        assert_eq!(ended(&mut child).code(), Some(code));
    }
    owner.run(["agent", "run", "--once"]).ok();
}
