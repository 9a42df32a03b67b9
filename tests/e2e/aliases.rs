//! Aliases, which need no grid.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::grid::Client;

/// Tahoe's own examples of a write cap and of the read cap that follows from it, with numbers for the secrets.
pub(crate) const WRITE: &str =
    "URI:DIR2:aeaqcaibaeaqcaibaeaqcaibae:aibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaiba";
const FILE: &str =
    "URI:CHK:aeaqcaibaeaqcaibaeaqcaibae:aibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaiba:3:10:4096";

/// A client that knows no introducer.
pub(crate) fn lonely() -> (tempfile::TempDir, Client) {
    let folder = tempfile::tempdir().unwrap();
    let client = Client::new(folder.path().join("client"), &[], "3/7/10");
    (folder, client)
}

#[test]
fn added_listed_renamed_removed() {
    let (_folder, client) = lonely();
    let ran = client.run(["alias", "add", "photos", WRITE]).ok();
    assert!(ran.out.is_empty() && ran.err.starts_with("Alias \"photos\" added\n"), "{ran:?}");
    assert!(ran.err.contains("sarsen recovery export"), "{}", ran.err);
    // As Tahoe has it.
    let ran = client.run(["-q", "add-alias", "w:", WRITE]).ok();
    assert!(ran.out.is_empty() && ran.err.is_empty(), "{ran:?}");
    let text = client.run(["list-aliases"]).ok().text();
    assert_eq!(text, format!("photos: {WRITE}\n     w: {WRITE}\n"));
    let read = client.run(["alias", "list", "--readonly-uri"]).ok().text();
    assert!(read.lines().all(|line| line.contains(": URI:DIR2-RO:")) && read.lines().count() == 2, "{read}");
    let read = read.lines().next().unwrap().split_once(": ").unwrap().1.to_owned();
    let json = client.run(["alias", "list", "--json"]).ok().json();
    assert_eq!(json["photos"]["readwrite"], WRITE);
    assert_eq!(json["photos"]["readonly"], read.as_str());
    client.run(["alias", "rename", "w", "work"]).ok();
    client.run(["alias", "remove", "photos"]).ok();
    assert_eq!(client.run(["list-aliases"]).ok().text(), format!("work: {WRITE}\n"));
    // The cap need not stand on the command line.
    let ran = client.run_with(&["alias", "add", "ro", "-"], format!("{read}\n").as_bytes()).ok();
    assert!(!ran.err.contains("recovery"), "it was said today: {}", ran.err);
    assert_eq!(client.run(["list-aliases"]).ok().text(), format!("  ro: {read}\nwork: {WRITE}\n"));
    let mode = fs::metadata(client.dir.join("private/aliases")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn what_is_refused() {
    let (_folder, client) = lonely();
    client.run(["alias", "add", "photos", WRITE]).ok();
    client.run(["alias", "add", "photos", WRITE]).fails(1, &["already", "hint: "]);
    client.run(["alias", "add", "a b", WRITE]).fails(2, &["' '"]);
    client.run(["alias", "add", "x", FILE]).fails(2, &["no directory's", "hint: "]);
    client.run(["alias", "add", "x", "URI:NEW:x"]).fails(6, &["does not know"]);
    client.run(["alias", "add", "x", &WRITE[..40]]).fails(2, &["hint: a capability is one line"]);
    client.run(["alias", "remove", "photo"]).fails(4, &["did you mean \"photos\"?"]);
    client.run(["alias", "rename", "nothing", "x"]).fails(4, &["\"nothing\""]);
    client.run(["alias", "frobnicate"]).fails(2, &["--help"]);
    let path = client.dir.join("private/aliases");
    fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
    client.run(["list-aliases"]).fails(1, &["chmod 600"]);
    fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    // One bad line does not hide the others.
    fs::write(&path, format!("# mine\nbad: URI:DIR2:x\nphotos: {WRITE}\n")).unwrap();
    let ran = client.run(["list-aliases"]).ok();
    assert_eq!(ran.text(), format!("photos: {WRITE}\n"));
    assert!(ran.err.contains("line 2 of"), "{}", ran.err);
}

#[test]
fn processes_that_add_at_once_lose_nothing() {
    let (_folder, client) = lonely();
    let children: Vec<_> = (0..12)
        .map(|number| client.command(["-q", "alias", "add", &format!("a{number}"), WRITE]).spawn().unwrap())
        .collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(client.run(["list-aliases"]).ok().text().lines().count(), 12);
    let left = fs::read_dir(client.dir.join("private")).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert!(!left.iter().any(|name| name.ends_with(".tmp")), "{left:?}");
}
