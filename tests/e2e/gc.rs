//! What nobody leases any more is removed by hand, with the server stopped.

use std::fs;

use crate::grid::{Grid, noise, run, sarsen};

#[test]
fn what_would_go_is_told_and_then_goes() {
    let mut grid = Grid::start(1, "1/1/1");
    let files = [grid.file("small", 61, 9_000), grid.file("large", 62, 900_000)];
    let caps = files.clone().map(|file| grid.client.put(&file));
    let server = &mut grid.servers[0];
    let gc =
        |dir: &std::path::Path, options: &[&str]| run(sarsen().args(["server", "gc"]).arg(dir).args(options));
    gc(&server.dir, &["--dry-run"]).fails(1, &["is running already", "hint: stop it first"]);
    server.stop();
    let nothing = gc(&server.dir, &["--now"]).ok().text();
    assert!(nothing.contains("nothing to remove"), "{nothing}");
    // Leases are lost with the index, and the owner gives nobody time to come back for what was theirs.
    fs::remove_file(server.storage().join("index.redb")).unwrap();
    server.configure("idle_limit = \"400d\"", "idle_limit = \"0s\"");
    let told = gc(&server.dir, &["--dry-run", "--json"]).ok().json();
    let store = &told["stores"][0];
    assert_eq!(
        (told["dry_run"].as_bool(), store["gone"]["never_leased"]["objects"].as_u64()),
        (Some(true), Some(2))
    );
    assert!(store["gone"]["never_leased"]["bytes"].as_u64().unwrap() > 909_000, "{told}");
    assert_eq!(store["gone"]["expired"]["objects"].as_u64(), Some(0));
    assert_eq!(server.share_files().len(), 1, "a dry run changes nothing");
    let text = gc(&server.dir, &["--dry-run"]).ok().text();
    assert!(text.contains("never leased: 2 objects (2 shares, ") && text.contains("would go"), "{text}");
    let done = gc(&server.dir, &[]).ok().text();
    assert!(done.contains("never leased: 2 objects (2 shares, ") && done.contains("removed"), "{done}");
    assert_eq!(server.share_files().len(), 0);
    server.configure("idle_limit = \"0s\"", "idle_limit = \"400d\"");
    server.start();
    for (cap, file) in caps.iter().zip(&files) {
        grid.client.run(["get", cap]).fails(4, &["has no share", "hint:"]);
        assert_eq!(grid.client.put(file), *cap);
    }
    assert!(grid.client.get(&caps[1]) == noise(62, 900_000));
    // A store that cannot be opened does not keep the others from being looked through.
    let server = &mut grid.servers[0];
    server.stop();
    fs::remove_file(server.storage().join("identity")).unwrap();
    let partly = gc(&server.dir, &["--dry-run", "--json"]);
    assert_eq!(partly.code, Some(3), "{}", partly.err);
    assert!(partly.err.contains("is not a store"), "{}", partly.err);
    gc(std::path::Path::new("/nowhere"), &[]).fails(1, &["holds no server"]);
}
