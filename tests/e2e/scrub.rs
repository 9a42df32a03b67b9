//! A disk that rots: the server's own scrub finds it, a check sees it, a repair heals it.

use crate::grid::{Grid, noise, run, sarsen};

#[test]
fn a_flipped_byte_is_found_by_a_scrub_seen_by_a_check_and_healed_by_a_repair() {
    let mut grid = Grid::start(5, "2/4/4");
    let client = grid.another_client("owner", "2/4/4");
    let cap = client.run_with(&["put", "-"], &noise(70, 2_000_000)).ok().line();
    let scrub = |dir: &std::path::Path, options: &[&str]| {
        run(sarsen().args(["server", "scrub"]).arg(dir).args(options))
    };
    let rotten = grid.servers.iter().position(|server| !server.share_files().is_empty()).unwrap();
    let server = &mut grid.servers[rotten];
    scrub(&server.dir, &["--now"]).fails(1, &["is running already", "hint: stop it first"]);
    server.stop();
    let told = scrub(&server.dir, &[]).ok().text();
    assert!(told.contains("not scrubbed yet"), "{told}");
    let clean = scrub(&server.dir, &["--now", "--json"]).ok().json();
    let store = &clean["stores"][0];
    assert_eq!((store["now"]["shares"].as_u64(), store["bad"].as_u64()), (Some(1), Some(0)), "{clean}");
    assert!(store["finished"].as_u64() > Some(1_700_000_000), "{clean}");
    let file = server.share_files().pop().unwrap();
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[300_000] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let found = scrub(&server.dir, &["--now"]);
    assert_eq!(found.code, Some(7), "{}{}", found.text(), found.err);
    assert!(found.text().contains("is bad: ") && found.text().contains("a second"), "{}", found.text());
    assert!(!file.exists() && server.share_files().is_empty());
    let name = file.file_name().unwrap();
    assert!(server.storage().join("quarantine").join(name).exists());
    let after = scrub(&server.dir, &["--json"]).ok().json();
    assert_eq!((after["stores"][0]["bad"].as_u64(), after["stores"][0]["used"].as_u64()), (Some(1), Some(0)));
    server.start();

    let status = client.run(["status"]).ok().text();
    assert!(status.contains("found 1 bad share so far") && status.contains(", scrubbed 2"), "{status}");
    let ill = client.run(["check", &cap]);
    assert_eq!(ill.code, Some(7), "{}", ill.text());
    assert!(ill.text().contains("3 of 4 shares"), "{}", ill.text());
    let healed = client.run(["check", "--repair", "--verify=sampled", &cap]);
    assert_eq!(healed.code, Some(9), "{}{}", healed.text(), healed.err);
    let sampled = client.run(["check", "--samples", "459", &cap]).ok().text();
    assert!(sampled.contains("(sampled: 459 pieces of each share)"), "{sampled}");
    let whole = client.run(["check", "--verify", &cap]).ok().text();
    assert!(whole.contains("4 of 4 shares") && whole.contains("(full)"), "{whole}");
    // What it announced is known when it is away.
    grid.servers[rotten].stop();
    let away = client.run(["status"]).text();
    assert!(
        away.contains("announced itself as one that takes shares") && away.contains("scrubbed 2"),
        "{away}"
    );
    client.run(["check", "--verify=sampled", "--samples", "3", &cap]).fails(2, &["cannot be used with"]);
}
