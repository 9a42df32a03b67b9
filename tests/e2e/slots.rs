//! Slots: who holds what, fewer servers than wanted, members that are lost for good.

use crate::grid::{Grid, eventually};

#[test]
fn members_are_shown_replaced_and_deleted() {
    let mut grid = Grid::start(6, "1/3/4");
    let client = grid.client.clone();
    client.run(["alias", "create", "d"]).ok();
    client.run_with(&["put", "-", "d:file"], b"kept").ok();
    let show = client.run(["slot", "show", "d:", "--json"]).ok().json();
    let members = show["members"].as_array().unwrap().clone();
    assert_eq!((members.len(), &show["quorum"], &show["confirmed"]), (4, &3.into(), &true.into()), "{show}");
    let text = client.run(["slot", "show", "d:"]).ok().text();
    assert!(text.contains("quorum:    3 of 4 members") && text.contains("confirmed by a quorum"), "{text}");
    let names: Vec<usize> = members
        .iter()
        .map(|member| {
            (0..6).find(|n| member["server"].as_str().unwrap().contains(&format!("server{n}"))).unwrap()
        })
        .collect();
    // One is down: all goes on, and its store is named.
    grid.servers[names[0]].kill();
    client.run_with(&["put", "-", "d:second"], b"2").ok();
    let ran = client.run(["slot", "restore", "d:"]).ok();
    assert_eq!(ran.text().matches("  holds it").count(), 3, "{}", ran.text());
    assert!(
        ran.text().contains("  does not answer") && ran.text().contains("spare:     0"),
        "{}",
        ran.text()
    );
    // It is replaced by one of the others.
    let ran = client.run(["slot", "members", "d:"]).ok();
    assert!(!ran.text().contains(&format!("server{}", names[0])), "{}", ran.text());
    assert_eq!(ran.text().matches("member: ").count(), 4, "{}", ran.text());
    assert_eq!(client.run(["ls", "d:"]).ok().text(), "file\nsecond\n");
    // The verify cap is enough to look after it.
    let cap =
        client.run(["alias", "list", "--json"]).ok().json()["d"]["readwrite"].as_str().unwrap().to_owned();
    let weaker = client.run(["cap", "show", &cap, "--json"]).ok().json()["weaker"].clone();
    let health = client.run(["slot", "restore", weaker["verify"].as_str().unwrap(), "--json"]).ok().json();
    assert_eq!((&health["spare"], health["holding"].as_array().unwrap().len()), (&1.into(), 4), "{health}");
    client
        .run(["slot", "members", weaker["read"].as_str().unwrap()])
        .fails(6, &["needs a cap that may write"]);
    client.run(["slot", "show", "URI:LIT:nbswy3dp"]).fails(2, &["names no slot"]);
    client.run(["slot", "delete", "d:"]).ok();
    client.run(["ls", "d:"]).fails(4, &["d:: it was deleted", "hint:"]);
    let text = client.run(["slot", "show", "d:"]).ok().text();
    assert!(text.contains("deleted:   yes") && text.contains("read:      it cannot be"), "{text}");
}

#[test]
fn below_a_quorum_reads_say_newest_seen_and_writes_end() {
    let mut grid = Grid::start(4, "1/3/4");
    let client = grid.client.clone();
    client.run(["alias", "create", "d"]).ok();
    client.run_with(&["put", "-", "d:file"], b"kept").ok();
    grid.servers[0].kill();
    grid.servers[1].kill();
    let ran = client.run(["ls", "d:"]).ok();
    assert_eq!(ran.text(), "file\n");
    assert!(ran.err.contains("newest that was seen"), "{}", ran.err);
    assert!(client.run(["-q", "ls", "d:"]).ok().err.is_empty());
    let ran = client.run(["slot", "show", "d:"]).ok();
    assert!(ran.text().contains("newest seen") && ran.err.contains("newest that was seen"), "{ran:?}");
    let ran = client.run(["get", "d:file"]).ok();
    assert!(ran.out == b"kept" && ran.err.contains("newest that was seen"), "{ran:?}");
    // So do those that move whole trees, and also when they fail.
    let (out, folder) = (grid.path("out"), grid.path("folder"));
    let (out, folder) = (out.to_str().unwrap(), folder.to_str().unwrap());
    let ran = client.run(["restore", "d:", folder]).ok();
    assert!(ran.err.contains("newest that was seen"), "{}", ran.err);
    client.run(["cp", "d:none", out]).fails(4, &["there is no d:none", "newest that was seen"]);
    client.run(["cp", "d:file", "d:copy"]).fails(5, &["sarsen: d:copy: ", "stores", "hint: "]);
    let ran = client.run_with(&["put", "-", "d:other"], b"x");
    let ran = ran.fails(5, &["stores", "hint: "]);
    assert!(ran.err.contains("server0") && ran.err.contains("server1"), "both are named: {}", ran.err);
    client.run(["mkdir"]).fails(5, &["hint:"]);
    client.run(["rm", "d:file"]).fails(5, &["hint:"]);
    // They are gone for good: what is left begins again, loudly.
    client.run(["slot", "members", "d:"]).fails(5, &[]);
    grid.servers[1].start();
    eventually("three servers answer", || client.connected() == 3);
    let ran = client.run(["slot", "force", "d:"]).ok();
    assert!(ran.err.contains("WARNING") && ran.text().contains("begun by force"), "{ran:?}");
    client.run_with(&["put", "-", "d:other"], b"x").ok();
    assert_eq!(client.run(["ls", "d:"]).ok().text(), "file\nother\n");
}
