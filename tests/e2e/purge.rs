//! Letting go on real servers: bytes really leave the disks, and no others.

use crate::grid::{Grid, eventually, noise, run, sarsen};

/// Has every server remove at once what nobody leases, and says how many large shares are left on each.
fn collect(grid: &mut Grid) -> Vec<usize> {
    let left = grid.servers.iter_mut().map(|server| {
        server.stop();
        run(sarsen().args(["server", "gc", "--now"]).arg(&server.dir)).ok();
        let left = server.share_files().len();
        server.start();
        left
    });
    left.collect()
}

#[test]
fn what_is_purged_leaves_the_disks_and_the_other_root_keeps_its_own() {
    let mut grid = Grid::start(3, "2/3/3");
    let (shared, own) = (grid.file("shared", 1, 900_000), grid.file("own", 2, 800_000));
    let client = grid.another_client("owner", "2/3/3");
    for alias in ["one", "other"] {
        client.run(["alias", "create", alias]).ok();
    }
    let path = |path: &std::path::Path| path.to_str().unwrap().to_owned();
    for (file, to) in [(&shared, "one:d/shared"), (&own, "one:d/own"), (&shared, "other:shared")] {
        client.run(["put", &path(file), to]).ok();
    }
    assert!(grid.servers.iter().all(|server| server.share_files().len() == 2));
    let told = client.run(["rm", "--purge", "--dry-run", "--json", "one:d"]).ok().json();
    assert_eq!((told["dry-run"].as_bool(), told["objects"].as_u64()), (Some(true), Some(2)), "{told}");
    let done = client.run(["rm", "--purge", "--json", "one:d"]).ok().json();
    assert_eq!((&done["objects"], &done["bytes"]), (&told["objects"], &told["bytes"]), "{done}");
    assert_eq!(collect(&mut grid), [1, 1, 1]);
    assert_eq!(client.run(["get", "other:shared"]).ok().out, noise(1, 900_000));
    client.run(["ls", "one:d"]).fails(4, &["there is no one:d"]);

    // What was unlinked only is found by a sweep; what was stored without a path is left alone.
    let bare = client.put(&own);
    client.run(["rm", "other:shared"]).ok();
    let mut found = serde_json::Value::Null;
    eventually("the leases are old enough", || {
        found = client.run(["sweep", "--all", "--dry-run", "--older-than", "0s", "--json"]).ok().json();
        found["orphans"]["objects"] == 1 && found["loose"]["objects"] == 1
    });
    client.run(["sweep", "--all", "--older-than", "0s"]).fails(2, &["--yes"]);
    let text = client.run(["sweep", "--all", "--dry-run", "--older-than", "0s"]).ok().text();
    assert!(
        text.contains("no root reaches: 1 object, ") && text.contains("without a path: 1 object, "),
        "{text}"
    );
    let young = client.run(["sweep", "--all", "--yes", "--json"]).ok().json();
    assert_eq!((young["let-go"].is_null(), young["orphans"]["objects"].as_u64()), (true, Some(0)), "{young}");
    let swept = client.run(["sweep", "--all", "--yes", "--older-than", "0s", "--json"]).ok().json();
    assert_eq!(swept["let-go"]["objects"].as_u64(), Some(1), "{swept}");
    assert_eq!(collect(&mut grid), [1, 1, 1]);
    assert_eq!(client.get(&bare), noise(2, 800_000));
}

#[test]
fn nothing_is_swept_while_a_link_leads_to_what_nobody_can_read() {
    let grid = Grid::start(2, "1/2/2");
    let client = grid.another_client("owner", "1/2/2");
    client.run(["alias", "create", "d"]).ok();
    let elsewhere = Grid::start(1, "1/1/1");
    let far = elsewhere.client.run(["mkdir"]).ok().line();
    client.run(["ln", &far, "d:away"]).ok();
    client.run(["sweep", "--all", "--yes"]).fails(5, &["d:away", "nothing was let go"]);
    client.run(["rm", "d:away"]).ok();
    client.run(["sweep", "--all", "--yes"]).ok();
}
