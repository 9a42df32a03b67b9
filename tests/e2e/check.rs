//! `sarsen check` and `sarsen cap repair` on real servers: lost disks, rotten shares, and what a repair cap does without reading.

use crate::grid::{Client, Grid, noise};

/// Checks, which must end with this code, and returns what was said on stdout.
#[track_caller]
fn check(client: &Client, code: i32, args: &[&str]) -> String {
    let ran = client.run([&["check"], args].concat());
    assert_eq!(ran.code, Some(code), "{}{}", ran.text(), ran.err);
    ran.text()
}

#[test]
fn a_tree_that_lost_servers_is_repaired_by_somebody_who_cannot_read_it() {
    let mut grid = Grid::start(12, "3/7/10");
    let owner = grid.another_client("owner", "3/7/10");
    owner.run(["alias", "create", "d"]).ok();
    owner.run_with(&["put", "-", "d:a/big"], &noise(1, 3_000_000)).ok();
    owner.run_with(&["put", "-", "d:a/small"], &noise(2, 5_000)).ok();
    owner.run_with(&["put", "-m", "-", "d:mutable"], &noise(3, 20_000)).ok();
    let healthy = check(&owner, 0, &["-r", "d:"]);
    assert!(healthy.contains("6 healthy (claimed)"), "{healthy}");
    assert!(check(&owner, 0, &["--verify", "d:a/big"]).contains("10 of 10 shares"));
    let repair = owner.run(["cap", "repair", "d:"]).ok().line();
    assert!(repair.starts_with("URI:SARSEN-REPAIR:"), "{repair}");

    for server in 0..2 {
        grid.servers[server].kill();
        std::fs::remove_dir_all(grid.servers[server].storage()).unwrap();
    }
    let keeper = grid.another_client("keeper", "3/7/10");
    assert_ne!(keeper.run(["ls", &repair]).code, Some(0));
    let ill = check(&keeper, 7, &["-r", &repair]);
    assert!(ill.contains(": unhealthy: ") && !ill.contains("big"), "{ill}");
    let short = |line: &str| {
        ["object ", "slot "]
            .iter()
            .any(|kind| line.strip_prefix(kind).is_some_and(|rest| rest.find(':') == Some(8)))
    };
    assert!(ill.lines().filter(|line| line.contains(": unhealthy: ")).all(short), "{ill}");
    let named = check(&owner, 7, &["-r", "d:"]);
    assert!(!named.contains("SARSEN-REPAIR") && !named.contains("Verifier"), "{named}");
    for name in ["d", "d:a", "d:a/big", "d:mutable"] {
        let line = format!("{name}: unhealthy: ");
        assert!(named.lines().any(|told| told.starts_with(&line)), "{name}: {named}");
    }
    // Members of slots are replaced by whoever may write: the keeper brings back the files.
    let mended = keeper.run(["check", "-r", "--repair", "--json", &repair]);
    let last: serde_json::Value = serde_json::from_str(mended.text().lines().last().unwrap()).unwrap();
    assert_eq!((&last["type"], &last["unrecoverable"]), (&"totals".into(), &0.into()), "{last}");
    assert_eq!(mended.code, Some(7), "{}", mended.err);
    assert!(mended.err.contains("is missing still") && !mended.err.contains("--repair"), "{}", mended.err);
    let repaired = check(&owner, 9, &["-r", "--repair", "d:"]);
    assert!(repaired.contains("3 repaired"), "{repaired}");
    let now = check(&owner, 0, &["-r", "--verify", "d:"]);
    assert!(now.contains("6 healthy (full)"), "{now}");

    // Of the servers that had shares from the beginning only three are left.
    for server in 2..9 {
        grid.servers[server].kill();
    }
    assert_eq!(owner.run(["get", "d:a/big"]).ok().out, noise(1, 3_000_000));
    check(&owner, 7, &["d:a/small"]);
    for server in 9..11 {
        grid.servers[server].kill();
    }
    assert!(check(&owner, 8, &["d:a/small"]).contains("unrecoverable"));
}

#[test]
fn a_rotten_share_is_found_and_replaced() {
    let grid = Grid::start(5, "2/4/5");
    let client = grid.another_client("owner", "2/4/5");
    let cap = client.run_with(&["put", "-"], &noise(4, 2_000_000)).ok().line();
    let file = grid.servers[2].share_files().pop().unwrap();
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[1000] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    check(&client, 0, &[&cap]);
    let found = check(&client, 7, &["--verify", &cap]);
    assert!(found.contains("is bad"), "{found}");
    let repaired = check(&client, 9, &["--verify", "--repair", &cap]);
    assert!(repaired.contains("repaired"), "{repaired}");
}
