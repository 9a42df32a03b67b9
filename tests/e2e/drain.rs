//! A server is retired: its shares go to others while it runs, then it is switched off.

use std::path::Path;

use crate::grid::{Grid, Ran, noise, run, sarsen};

fn server(verb: &str, dir: &Path, options: &[&str]) -> Ran {
    run(sarsen().args(["server", verb]).arg(dir).args(options))
}

#[test]
fn a_server_is_drained_and_switched_off() {
    let mut grid = Grid::start(5, "2/3/4");
    let files: Vec<_> =
        (0..6).map(|n| grid.file(&format!("file{n}"), n, 3_000 + n as usize * 170_000)).collect();
    let caps: Vec<String> = files.iter().map(|file| grid.client.put(file)).collect();
    grid.client.run(["alias", "create", "home"]).ok();
    let dir = grid.servers[0].dir.clone();
    server("drain", &dir, &["--status"]).fails(1, &["is not being drained"]);
    let done = server("drain", &dir, &["--json"]).ok().json();
    assert_eq!((done["phase"].as_str(), done["left"].as_u64()), (Some("complete"), Some(0)), "{done}");
    assert_eq!(done["shares"], done["done_shares"], "{done}");
    let text = server("drain", &dir, &["--status"]).ok().text();
    assert!(text.contains("may be switched off"), "{text}");
    // It stays drained when it is started again, and takes nothing new.
    grid.servers[0].restart();
    let report = grid.client.put_json(&grid.file("later", 40, 300_000));
    assert!(!report.to_string().contains("server0"), "{report}");
    let check = |cap: &String| grid.client.run(["check", cap]).ok();
    caps.iter().for_each(|cap| drop(check(cap)));
    if done["slots"].as_u64() > Some(0) {
        // Its place in the directory's quorum goes to another.
        let code = grid.client.run(["check", "--repair", "-r", "home:"]).code;
        assert!(matches!(code, Some(0 | 9)), "{code:?}");
    }
    grid.servers[0].stop();
    for (n, cap) in caps.iter().enumerate() {
        assert!(grid.client.get(cap) == noise(n as u64, 3_000 + n * 170_000));
        check(cap);
    }
    grid.client.run(["check", "-r", "home:"]).ok();
    server("drain", &dir, &["--cancel"]).ok();
    server("drain", &dir, &[]).fails(3, &["does not run"]);
    server("rebalance", &dir, &[]).fails(1, &["does not run"]);
    server("drain", Path::new("/nowhere"), &[]).fails(1, &["holds no server"]);
}

#[test]
fn what_nobody_takes_is_told() {
    let mut grid = Grid::start(3, "2/3/3");
    let cap = grid.client.put(&grid.file("file", 1, 50_000));
    let stuck = server("drain", &grid.servers[1].dir, &[]);
    assert_eq!(stuck.code, Some(3), "{}", stuck.err);
    assert!(stuck.text().contains("1 object would be on fewer servers"), "{}", stuck.text());
    server("drain", &grid.servers[1].dir, &["--cancel"]).ok();
    // In an open grid anybody may announce a server and swallow what is handed to it.
    let refused = server("rebalance", &grid.servers[1].dir, &[]);
    assert!(refused.code == Some(3) && refused.err.contains("hand_over_to"), "{}", refused.err);
    let ids = ["server0", "server2"].map(|name| grid.client.status_of(name)["id"].to_string());
    let config = grid.servers[1].dir.join("server.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    assert!(text.contains("hand_over_to = []"), "{text}");
    std::fs::write(
        &config,
        text.replace("hand_over_to = []", &format!("hand_over_to = [{}]", ids.join(", "))),
    )
    .unwrap();
    grid.servers[1].restart();
    let moved = server("rebalance", &grid.servers[1].dir, &[]).ok().text();
    assert!(moved.ends_with(": 0 shares (0 B)\n"), "{moved}");
    grid.client.run(["check", &cap]).ok();
}
