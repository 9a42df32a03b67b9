//! Directories and mutable files: the verbs, in both spellings, and what they refuse.

use std::fs;

use crate::grid::{Client, Grid, noise, run, sarsen};

/// A client with an alias `d`.
fn with_alias(grid: &Grid, name: &str) -> Client {
    let client = grid.another_client(name, "3/7/10");
    let ran = client.run(["alias", "create", "d"]).ok();
    assert!(ran.out.is_empty() && ran.err.contains("Alias \"d\" created"), "{ran:?}");
    assert!(ran.err.contains("sarsen recovery export"), "{}", ran.err);
    client
}

/// Stores text under a path.
#[track_caller]
fn put_text(client: &Client, path: &str, text: &str) -> String {
    client.run_with(&["put", "-", path], text.as_bytes()).ok().line()
}

/// The names `ls` shows.
#[track_caller]
fn ls(client: &Client, path: &str) -> Vec<String> {
    client.run(["ls", path]).ok().text().lines().map(str::to_owned).collect()
}

#[test]
fn directories_are_made_filled_listed_and_read() {
    let grid = Grid::shared();
    let client = with_alias(&grid, "filled");
    client.run(["create-alias", "tahoe"]).ok();
    client.run(["create-alias", "tahoe"]).fails(1, &["already", "hint:"]);
    let cap = client.run(["mkdir"]).ok().line();
    assert!(cap.starts_with("URI:DIR2:"), "{cap}");
    let made = client.run(["mkdir", "d:a/b/c"]).ok().line();
    assert_eq!(client.run(["mkdir", "d:a/b/c"]).ok().line(), made, "one that is there is fine");
    let file = grid.file("filled-file", 40, 70_000);
    let plain = client.put(&file);
    let file = file.to_str().unwrap();
    let ran = client.run(["put", file, "d:a/x/photo"]).ok();
    assert_eq!((ran.line(), ran.err.contains("created")), (plain.clone(), true), "{}", ran.err);
    // Into a directory, under its own name: with a slash, or because it is one.
    client.run(["put", file, "d:a/b/"]).ok();
    client.run(["put", file, "d:a/b/c"]).ok();
    assert_eq!(ls(&client, "d:a/b"), ["c", "filled-file"]);
    assert_eq!(ls(&client, "d:a/b/c"), ["filled-file"]);
    assert_eq!(ls(&client, "d:a/x/photo"), ["photo"], "a file lists itself");
    assert_eq!(ls(&client, &made), ["filled-file"]);
    assert_eq!(ls(&client, &format!("{made}/")), ["filled-file"]);
    for path in ["d:a/x/photo", &format!("{}/filled-file", made), &format!("{}:./filled-file", made)] {
        assert!(client.get(path) == noise(40, 70_000), "{path}");
    }
    let place = grid.path("filled-out");
    client.run(["get", "d:a/x/photo", place.to_str().unwrap()]).ok();
    assert!(fs::read(&place).unwrap() == noise(40, 70_000));
    assert_eq!(client.run(["get", "d:a/x/photo", "--range", "5-9"]).ok().out, noise(40, 70_000)[5..10]);
    // The default alias, and Tahoe's.
    put_text(&client, "hello", "hi");
    assert_eq!(client.get("tahoe:hello"), b"hi");
    assert_eq!(ls(&client, ""), ["hello"]);
    // Quiet: the cap and nothing else.
    let ran = client.run(["-q", "put", file, "d:again"]).ok();
    assert!(ran.line() == plain && ran.err.is_empty(), "{ran:?}");
}

#[test]
fn listings_in_all_forms() {
    let grid = Grid::shared();
    let client = with_alias(&grid, "listed");
    let file = grid.file("listed-file", 41, 60_000);
    let cap = client.run(["put", file.to_str().unwrap(), "d:file"]).ok().line();
    client.run(["mkdir", "d:sub"]).ok();
    let mutable = client.run_with(&["put", "-m", "-", "d:m"], b"1").ok().line();
    assert!(mutable.starts_with("URI:SSK:"), "{mutable}");
    assert_eq!(ls(&client, "d:"), ["file", "m", "sub"]);
    assert_eq!(client.run(["ls", "-F", "d:"]).ok().text(), "file\nm*\nsub/\n");
    let long = client.run(["ls", "-l", "d:"]).ok().text();
    let lines: Vec<&str> = long.lines().collect();
    assert!(lines[0].starts_with("-rw-") && lines[0].contains(" 60000 20"), "{long}");
    assert!(lines[1].starts_with("-rw------- ") && lines[1].contains(" ? "), "{long}");
    assert!(lines[2].starts_with("drwx------ ") && lines[2].contains(" - "), "{long}");
    let columns: Vec<usize> = ["file", "m", "sub"].map(|name| name.len()).to_vec();
    let starts: Vec<usize> = lines.iter().zip(columns).map(|(line, len)| line.len() - len).collect();
    assert!(starts.iter().all(|start| *start == starts[0]), "aligned: {long}");
    let uris = client.run(["ls", "--uri", "d:"]).ok().text();
    assert!(uris.contains(&format!("{cap} file\n")) && uris.contains(&format!("{mutable} m\n")), "{uris}");
    let uris = client.run(["ls", "--readonly-uri", "d:"]).ok().text();
    assert!(uris.contains("URI:SSK-RO:") && uris.contains("URI:DIR2-RO:"), "{uris}");
    assert!(!uris.contains("URI:SSK:") && !uris.contains("URI:DIR2:"), "{uris}");
    let json = client.run(["ls", "--json", "d:"]).ok().json();
    assert_eq!(json[0], "dirnode");
    assert_eq!((&json[1]["mutable"], json[1]["rw_uri"].is_string()), (&true.into(), true));
    let children = &json[1]["children"];
    assert_eq!((&children["file"][0], &children["file"][1]["size"]), (&"filenode".into(), &60_000.into()));
    assert_eq!(children["file"][1]["ro_uri"], cap.as_str());
    assert_eq!(children["m"][1]["rw_uri"], mutable.as_str());
    assert_eq!(children["sub"][0], "dirnode");
    assert!(children["file"][1]["metadata"]["tahoe"]["linkcrtime"].is_number(), "{json}");
    let json = client.run(["ls", "--json", "d:file"]).ok().json();
    assert_eq!((&json[0], &json[1]["format"]), (&"filenode".into(), &"CHK".into()));
    // Who has read caps only sees no write cap.
    let read =
        client.run(["alias", "list", "--json"]).ok().json()["d"]["readonly"].as_str().unwrap().to_owned();
    let json = client.run(["ls", "--json", &read]).ok().json();
    assert!(json[1]["rw_uri"].is_null() && json[1]["children"]["m"][1]["rw_uri"].is_null(), "{json}");
    assert!(json[1]["children"]["m"][1]["ro_uri"].as_str().unwrap().starts_with("URI:SSK-RO:"));
}

#[test]
fn mutable_files_are_written_over_in_place() {
    let grid = Grid::shared();
    let client = with_alias(&grid, "mutable");
    let cap = client.run_with(&["put", "--mutable", "-"], b"one").ok().line();
    assert_eq!(client.get(&cap), b"one");
    let ran = client.run_with(&["put", "-", &cap], b"two, longer").ok();
    assert_eq!(ran.line(), cap);
    assert_eq!(client.get(&cap), b"two, longer");
    client.run_with(&["put", "--offset", "5", "-", &cap], b"LONG").ok();
    assert_eq!(client.get(&cap), b"two, LONGer");
    // Below a path, and larger than a slot holds.
    let linked =
        client.run_with(&["put", "--format", "MDMF", "-", "d:dir/m"], &noise(42, 300_000)).ok().line();
    assert!(client.get("d:dir/m") == noise(42, 300_000));
    let ran = client.run_with(&["put", "-", "d:dir/m"], &noise(43, 200_000)).ok();
    assert!(ran.line() == linked && ran.err.contains("changed"), "{ran:?}");
    assert!(client.get(&linked) == noise(43, 200_000));
    let place = grid.path("mutable-out");
    client.run(["get", "d:dir/m", place.to_str().unwrap()]).ok();
    assert!(fs::read(&place).unwrap() == noise(43, 200_000));
    // An immutable one is replaced in its directory.
    let one = put_text(&client, "d:f", &"x".repeat(1000));
    let ran = client.run_with(&["put", "-", "d:f"], "y".repeat(1000).as_bytes()).ok();
    assert!(ran.line() != one && ran.err.contains("replaced"), "{ran:?}");
    assert_eq!(client.get("d:f"), "y".repeat(1000).as_bytes());
    // What may only be read is not written.
    let read = client.run(["ls", "--readonly-uri", "d:dir/m"]).ok().text();
    let read = read.split(' ').next().unwrap();
    client.run_with(&["put", "-", read], b"x").fails(6, &["needs a cap that may write", "hint:"]);
    client.run_with(&["put", "-", &one], b"x").fails(6, &["needs a cap that may write"]);
    client.run_with(&["put", "--offset", "1", "-", "d:nothing"], b"x").fails(2, &["--offset"]);
    client.run(["put", "--mutable", "--format", "CHK"]).fails(2, &["CHK"]);
}

#[test]
fn moved_linked_and_removed() {
    let grid = Grid::shared();
    let client = with_alias(&grid, "moved");
    put_text(&client, "d:a", "the first");
    client.run(["mkdir", "d:sub/deep"]).ok();
    client.run(["mv", "d:a", "d:b"]).ok();
    assert_eq!(ls(&client, "d:"), ["b", "sub"]);
    client.run(["mv", "d:b", "d:sub"]).ok();
    client.run(["mv", "d:sub/b", "d:sub/deep/"]).ok();
    assert_eq!((ls(&client, "d:"), ls(&client, "d:sub/deep")), (vec!["sub".into()], vec!["b".to_owned()]));
    let ran = client.run(["ln", "d:sub/deep/b", "d:c"]).ok();
    assert!(ran.out.is_empty() && ran.err.starts_with("OK"), "{ran:?}");
    assert_eq!(client.get("d:c"), b"the first");
    // A bare cap gets a name.
    let cap = client.run(["mkdir"]).ok().line();
    client.run(["ln", &cap, "d:elsewhere"]).ok();
    put_text(&client, &format!("{cap}/inside"), "seen from both");
    assert_eq!(client.get("d:elsewhere/inside"), b"seen from both");
    client.run(["ln", &cap, "d:"]).fails(2, &["needs a name"]);
    // No directory is written over, and none ends up below itself.
    put_text(&client, "d:z", "a file");
    client.run(["mv", "d:sub", "d:sub/deep"]).fails(1, &["into itself"]);
    client.run(["mv", "d:sub", "d:sub"]).fails(1, &["into itself"]);
    client.run_with(&["put", "-", "d:sub"], b"x").fails(1, &["sub is a directory", "hint:"]);
    client.run(["mkdir", "d:other/z"]).ok();
    client.run(["mv", "d:z", "d:other/"]).fails(1, &["z is a directory"]);
    client.run(["ln", "d:z", "d:other/"]).fails(1, &["z is a directory"]);
    for verb in ["mv", "ln"] {
        client.run([verb, "d:other", "d:z"]).fails(1, &["z is not a directory", "hint:"]);
        client.run([verb, "d:other/z", "d:z"]).fails(1, &["z is not a directory", "hint:"]);
    }
    assert_eq!(client.get("d:z"), b"a file", "nothing was lost");
    client.run(["mv", "d:z", "d:z"]).ok();
    client.run(["mv", "d:nothing", "d:y"]).fails(4, &["there is no d:nothing", "hint: `sarsen ls d:` shows"]);
    client.run(["mv", "d:", "d:y"]).fails(2, &["needs a name"]);
    // Both spellings.
    client.run(["rm", "d:z"]).ok();
    client.run(["get", "d:z"]).fails(4, &["there is no d:z"]);
    client.run(["unlink", "d:c", "d:elsewhere", "d:sub"]).ok();
    assert_eq!(ls(&client, "d:"), ["other"]);
    client.run(["rm", "d:c"]).fails(4, &["there is no d:c"]);
    client.run(["rm", "d:"]).fails(2, &["needs a name"]);
    let ran = client.run(["rm", "d:nothing", "d:other"]).fails(3, &["there is no d:nothing"]);
    assert!(!ran.err.contains("hint:"), "what is missing stays so: {}", ran.err);
    assert!(ls(&client, "d:").is_empty());
    // As other programs are called.
    client.run(["mkdir", "-p", "d:p/q"]).ok();
    client.run(["cp", "-a", "d:p", "d:r"]).ok();
    assert_eq!(ls(&client, "d:r"), ["p"]);
    client.run(["rm", "-rf", "d:p", "d:nothing", "d:no/such"]).ok();
    client.run(["rm", "-f", "d:nothing"]).ok();
    client.run(["rm", "-r", "d:r", "d:nothing"]).fails(3, &["there is no d:nothing"]);
    assert!(ls(&client, "d:").is_empty());
}

#[test]
fn what_is_refused_and_how() {
    let grid = Grid::shared();
    let client = with_alias(&grid, "refused");
    client.run(["alias", "create", "photos"]).ok();
    let cap = put_text(&client, "d:file", &"content ".repeat(100));
    // The middle of a path is a file.
    for args in
        [&["ls", "d:file/x"][..], &["get", "d:file/x"], &["mkdir", "d:file/x"], &["mv", "d:file/x", "d:y"]]
    {
        client.run(args).fails(1, &["file is not a directory", "hint:"]);
    }
    client.run_with(&["put", "-", "d:file/x"], b"").fails(1, &["file is not a directory"]);
    client.run(["ls", &format!("{cap}/x")]).fails(1, &["CHK cap names is not a directory"]);
    client.run(["get", "d:file/"]).fails(1, &["d:file is not a directory"]);
    client.run(["get", "d:"]).fails(1, &["is a directory", "hint:"]);
    client
        .run(["get", "d:none"])
        .fails(4, &["there is no d:none", "hint: `sarsen ls d:` shows what is there"]);
    client
        .run(["ls", "d:none/at/all"])
        .fails(4, &["sarsen: there is no d:none\n", "hint: `sarsen ls d:` shows what is there"]);
    // Aliases.
    client.run(["ls", "photo:"]).fails(4, &["did you mean \"photos\"?"]);
    client.run(["ls"]).fails(4, &["names no alias", "hint:"]);
    client.run(["get", "bare/name"]).fails(4, &["names no alias"]);
    // Something else was meant.
    client.run(["ls", "photos"]).fails(4, &["names no alias", "hint: did you mean photos:?"]);
    client.run(["ls", "photos/2026/a"]).fails(4, &["hint: did you mean photos:2026/a?"]);
    let (cap_file, letter) = (grid.path("meant.cap"), grid.path("meant.txt"));
    fs::write(&cap_file, format!("{cap}\n")).unwrap();
    fs::write(&letter, "Dear all").unwrap();
    let here = |args: [&str; 2]| run(client.command(args).arg("meant-to").current_dir(grid.folder()));
    let at = cap_file.to_str().unwrap();
    client.run(["get", at]).fails(2, &["begin with a slash", &format!("did you mean @{at}?")]);
    here(["get", "meant.cap"]).fails(4, &["hint: meant.cap is a file here; did you mean @meant.cap?"]);
    here(["mv", "meant.txt"])
        .fails(4, &["hint: meant.txt is a file here; `sarsen put` and `sarsen cp` store"]);
    for args in [["cap", "show", "photos:"].as_slice(), &["alias", "add", "x", "photos:letters"]] {
        client.run(args).fails(2, &["hint: this is a path; `sarsen ls --uri` shows caps"]);
    }
    client.run(["cap", "show", at]).fails(2, &[&format!("hint: {at} is a file here; did you mean @{at}?")]);
    let other = grid.another_client("refused-default", "3/7/10");
    other.run(["alias", "create", "sarsen"]).ok();
    other.run(["alias", "create", "photos"]).ok();
    other.run(["ls", "photos"]).fails(4, &["there is no photos", "hint: did you mean photos:?"]);
    other.run(["ls", "nothing"]).fails(4, &["there is no nothing", "hint: `sarsen ls` shows what is there"]);
    // Names.
    let long = format!("d:{}", "n".repeat(256));
    client.run(["mkdir", &long]).fails(2, &["at most 255 bytes", "256"]);
    for bad in ["d:a//b", "d:/a", "/a", "d:.", "d:a/../b"] {
        client.run(["mkdir", bad]).fails(2, &["hint: a path on the grid"]);
    }
    let name = format!("d:{}", "n".repeat(255));
    client.run(["mkdir", &name]).ok();
    // Unnormalised names are one name.
    put_text(&client, "d:u\u{308}", "u");
    assert_eq!(client.get("d:\u{fc}"), b"u");
    // A read-only alias reads and refuses writes.
    let list = client.run(["alias", "list", "--json"]).ok().json();
    let read = list["d"]["readonly"].as_str().unwrap().to_owned();
    client.run(["alias", "add", "ro", &read]).ok();
    assert_eq!(client.get("ro:file"), "content ".repeat(100).as_bytes());
    client.run_with(&["put", "-", "ro:new"], b"").fails(6, &["needs a cap that may write", "hint:"]);
    client.run(["mkdir", "ro:new"]).fails(6, &["needs a cap that may write"]);
    client.run(["mkdir", "--immutable", "ro:new"]).fails(6, &["needs a cap that may write"]);
    client.run(["rm", "ro:file"]).fails(6, &["needs a cap that may write"]);
    client.run(["mv", "ro:file", "ro:g"]).fails(6, &["needs a cap that may write"]);
    client.run(["mv", "ro:file", "d:g"]).fails(6, &["needs a cap that may write"]);
    client.run(["ln", "d:file", "ro:g"]).fails(6, &["needs a cap that may write"]);
    client.run(["slot", "delete", "ro:"]).fails(6, &["needs a cap that may write"]);
    client.run(["ln", "ro:file", "d:linked"]).ok();
    // A verify cap is a directory's, and shows nothing of it.
    let weaker = client.run(["cap", "show", &read, "--json"]).ok().json()["weaker"].clone();
    for verb in ["ls", "tree", "manifest"] {
        client
            .run([verb, weaker["verify"].as_str().unwrap()])
            .fails(6, &["DIR2-Verifier cap cannot be read"]);
    }
    // Nobody ever made it.
    let none = "URI:DIR2:aeaqcaibaeaqcaibaeaqcaibae:aibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaiba";
    client.run(["ls", none]).fails(4, &["hint: no server that answers knows it"]);
    run(sarsen().args(["ls", "--frobnicate"])).fails(2, &["--help"]);
}

#[test]
fn immutable_directories_hold_what_cannot_change() {
    let grid = Grid::shared();
    let client = with_alias(&grid, "immutable");
    let file = put_text(&client, "d:file", &"content ".repeat(100));
    let empty = client.run(["mkdir", "--immutable"]).ok().line();
    assert!(empty.starts_with("URI:DIR2-LIT:"), "{empty}");
    assert!(ls(&client, &empty).is_empty());
    let child = |name: &str| format!("{name}={file}");
    let dir = client.run(["mkdir", "--immutable", "d:im", &child("one"), &child("two")]).ok().line();
    assert_eq!(ls(&client, "d:im"), ["one", "two"]);
    assert_eq!(client.get(&format!("{dir}/one")), "content ".repeat(100).as_bytes());
    let again = client.run(["mkdir", "--immutable", &child("two"), &child("one")]).ok().line();
    assert_eq!(again, dir, "the same entries are the same directory");
    client.run(["mkdir", "--immutable", "d:im", &child("three")]).fails(1, &["im is there already", "hint:"]);
    let mutable = client.run_with(&["put", "-m", "-"], b"m").ok().line();
    client
        .run(["mkdir", "--immutable", &format!("m={mutable}")])
        .fails(6, &["holds only what cannot change"]);
    client.run_with(&["put", "-", "d:im/x"], b"").fails(6, &["needs a cap that may write"]);
    client.run(["mkdir", "--immutable", &child("a"), &child("a")]).fails(2, &["same name"]);
}

#[test]
fn a_cap_need_not_stand_on_the_command_line() {
    let grid = Grid::shared();
    let client = with_alias(&grid, "kept-out");
    let cap = put_text(&client, "d:file", "hello");
    let file = grid.path("dir.cap");
    let dir =
        client.run(["alias", "list", "--json"]).ok().json()["d"]["readwrite"].as_str().unwrap().to_owned();
    fs::write(&file, format!("{dir}\n")).unwrap();
    assert_eq!(ls(&client, &format!("@{}", file.display())), ["file"]);
    let ran = client.run_with(&["ls", "-"], dir.as_bytes()).ok();
    assert_eq!(ran.text(), "file\n");
    let ran = run(client.command(["get", "env:"]).env("SARSEN_CAP", &cap)).ok();
    assert_eq!(ran.out, b"hello");
}
