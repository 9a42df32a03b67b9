//! The verbs that walk: manifest, stats, find, tree, diff, du, and what they do about what cannot be read.

use std::process::Stdio;

use crate::grid::{Client, Grid};

/// A client with a tree below the alias `d`: six files, of which one may change, in four directories, one of them its own child.
fn with_tree(grid: &Grid, name: &str) -> Client {
    let client = grid.another_client(name, "3/7/10");
    client.run(["alias", "create", "d"]).ok();
    let put = |path: &str, len: usize| {
        client.run_with(&["put", "-", path], &crate::grid::noise(len as u64, len)).ok();
    };
    put("d:a/small", 10);
    put("d:a/b/big.jpg", 90_000);
    put("d:a/b/other.jpg", 2_000);
    put("d:top.txt", 100);
    client.run_with(&["put", "-m", "-", "d:a/m"], b"1234").ok();
    client.run(["mkdir", "d:empty"]).ok();
    client.run(["ln", "d:a", "d:a/b/cycle"]).ok();
    client
}

#[test]
fn a_tree_with_a_cycle_is_walked_once() {
    let grid = Grid::shared();
    let client = with_tree(&grid, "walked");
    let lines =
        |args: &[&str]| -> Vec<String> { client.run(args).ok().text().lines().map(str::to_owned).collect() };
    let manifest = lines(&["manifest", "d:"]);
    let paths: Vec<&str> = manifest.iter().map(|line| line.split_once(' ').unwrap().1).collect();
    let all =
        ["", "a", "a/b", "a/b/big.jpg", "a/b/cycle", "a/b/other.jpg", "a/m", "a/small", "empty", "top.txt"];
    assert_eq!(paths, all);
    assert!(manifest.iter().all(|line| line.starts_with("URI:")));
    let verify = lines(&["manifest", "--verify-cap", "d:"]);
    assert!(verify.iter().all(|cap| cap.contains("-Verifier:")), "{verify:?}");
    // The two smallest files are in their caps, and stored nowhere.
    assert_eq!(verify.len(), 9);
    let repair = lines(&["manifest", "--repair-cap", "d:"]);
    assert_eq!(repair.iter().filter(|cap| cap.starts_with("URI:SARSEN-REPAIR:")).count(), 6, "{repair:?}");
    assert_eq!(lines(&["manifest", "-s", "d:"]).len(), 9);
    let raw = lines(&["manifest", "--raw", "d:a/b"]);
    let json: Vec<serde_json::Value> = raw.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&json[0]["type"], &json[1]["path"][0]), (&"directory".into(), &"big.jpg".into()));
    assert_eq!(json.last().unwrap()["type"], "stats");
    assert_eq!(json.last().unwrap()["stats"]["largest-immutable-file"], 90_000);

    let stats = client.run(["stats", "--json", "d:"]).ok().json();
    let count = |name: &str| stats[name].as_u64().unwrap();
    assert_eq!((count("count-directories"), count("count-files"), count("count-mutable-files")), (5, 5, 1));
    assert_eq!((count("count-literal-files"), count("size-literal-files")), (1, 10));
    assert_eq!((count("size-immutable-files"), count("largest-directory-children")), (92_100, 3));
    assert_eq!(stats["size-files-histogram"][0], serde_json::json!([4, 10, 1]));
    let text = client.run(["stats", "d:"]).ok().text();
    assert!(text.contains("count-directories: 5") && text.contains("Size Histogram:"), "{text}");

    assert_eq!(lines(&["find", "d:", "--name", "*.jpg"]), ["d:a/b/big.jpg", "d:a/b/other.jpg"]);
    assert_eq!(lines(&["find", "d:", "--size", "+2000"]), ["d:a/b/big.jpg"]);
    assert_eq!(lines(&["find", "d:", "--size", "-50", "--type", "f"]), ["d:a/small"]);
    assert_eq!(lines(&["find", "d:a", "--type", "d"]), ["d:a", "d:a/b", "d:a/b/cycle"]);
    assert!(lines(&["find", "d:", "--type", "l"]).is_empty());
    assert!(lines(&["find", "-l", "d:top.txt"])[0].ends_with(" d:top.txt"));
    let tree = client.run(["tree", "d:"]).ok().text();
    assert!(tree.starts_with("d:\n|-- a/\n|   |-- b/\n|   |   |-- big.jpg\n"), "{tree}");
    assert!(tree.contains("cycle/  (see above)") && tree.ends_with("\n4 directories, 5 files\n"), "{tree}");
    let tree = client.run(["tree", "--depth", "1", "d:"]).ok().text();
    assert_eq!(tree, "d:\n|-- a/\n|-- empty/\n|-- top.txt\n\n2 directories, 1 files\n");
    client.run(["tree", "d:top.txt"]).fails(1, &["d:top.txt is not a directory"]);
    let du = lines(&["du", "d:"]);
    assert_eq!(du, ["0\td:a/b/cycle", "92000\td:a/b", "92014\td:a", "0\td:empty", "92114\td:"]);
    assert_eq!(lines(&["du", "-h", "--depth", "0", "d:"]), ["92.1 kB\td:"]);
    client.run(["find", "d:", "--size", "many"]).fails(2, &["--help"]);
    // Names that hold newlines are told apart in a pipe.
    client.run_with(&["put", "-", "d:a/two\nlines"], b"x").ok();
    let found = client.run(["find", "-0", "d:", "--name", "*lines"]).ok();
    assert_eq!(found.text(), "d:a/two\nlines\0");
    assert_eq!(client.run(["find", "d:", "--name", "*lines"]).ok().text(), "d:a/two\nlines\n");
    client.run(["find", "-0", "-l", "d:"]).fails(2, &["cannot be used with"]);
    client.run(["rm", "d:a/two\nlines"]).ok();
    client.run(["find", "d:nothing"]).fails(4, &["there is no d:nothing"]);
}

#[test]
fn differences_are_found() {
    let grid = Grid::shared();
    let client = with_tree(&grid, "differs");
    client.run(["alias", "create", "e"]).ok();
    let put = |path: &str, text: &str| client.run_with(&["put", "-", path], text.as_bytes()).ok();
    let diff = |a: &str, b: &str| client.run(["diff", a, b]);
    assert_eq!(diff("d:", "d:").ok().text(), "");
    for root in ["d:x", "e:x"] {
        let same = grid.file("differs-same", 50, 500);
        client.run(["put".to_owned(), same.display().to_string(), format!("{root}/same")]).ok();
        put(&format!("{root}/sub/changed"), root);
    }
    put("d:x/sub/only-left", "1");
    put("e:x/sub/only-right", "1");
    client.run(["mkdir", "e:x/new"]).ok();
    let ran = diff("d:x", "e:x");
    assert_eq!(ran.code, Some(1), "{}", ran.err);
    assert_eq!(ran.text(), "+ new/\n~ sub/changed\n- sub/only-left\n+ sub/only-right\n");
    assert!(ran.err.is_empty(), "{}", ran.err);
    assert_eq!(diff("d:x/same", "e:x/same").ok().text(), "");
    assert_eq!(diff("d:x/same", "d:x").code, Some(1));
    diff("d:x", "e:nothing").fails(4, &["there is no e:nothing"]);
}

/// Makes a ring of directories, each of which holds the next; the cap of the first.
async fn ring(client: &client::Client, len: usize) -> String {
    use client::filestore::{DirEdit, Replace};
    let x = || encoding::directory::Name::new("x").unwrap();
    let first = client.make_directory().await.unwrap();
    let mut next = first.clone();
    for _ in 1..len {
        next = client.make_directory_with(vec![(x(), next)]).await.unwrap();
    }
    let caps::Cap::SlotWrite(writer) = first.cap() else { panic!("it may be written") };
    let edit = DirEdit::Link { name: x(), child: Box::new(next), replace: Replace::No };
    client.edit_entry(writer, edit).await.unwrap();
    first.cap().to_string()
}

#[test]
fn what_lies_too_deep_is_not_taken_for_equal() {
    let grid = Grid::shared();
    let client = with_tree(&grid, "rings");
    let rings = tokio::runtime::Runtime::new().unwrap().block_on(async {
        let client = client::Client::open(&client.dir).unwrap();
        client.refresh().await;
        // The same pair of directories comes after 32 * 33 steps only.
        let rings = [ring(&client, 32).await, ring(&client, 33).await];
        client.close().await;
        rings
    });
    let ran = client.run(["diff", &rings[0], &rings[1]]);
    assert!(ran.code == Some(3) && ran.err.contains("deeper than 1024 directories"), "{ran:?}");
}

#[test]
fn what_cannot_be_read_is_said_and_the_walk_goes_on() {
    let grid = Grid::shared();
    let client = with_tree(&grid, "partly");
    client.run(["slot", "delete", "d:a/b"]).ok();
    for verb in ["manifest", "find", "tree", "du", "stats"] {
        let ran = client.run([verb, "d:"]);
        assert_eq!(ran.code, Some(3), "{verb}: {}", ran.err);
        assert!(ran.err.contains("sarsen: a/b: it was deleted"), "{verb}: {}", ran.err);
        assert!(verb == "stats" || verb == "du" || ran.text().contains("top.txt"), "{verb}: {}", ran.text());
    }
    client.run(["ls", "d:a/b"]).fails(4, &["d:a/b: it was deleted", "`sarsen rm d:a/b` takes the link away"]);
    client.run(["rm", "d:a/b"]).ok();
    client.run(["manifest", "d:"]).ok();
}

#[test]
fn readers_that_have_seen_enough_are_no_error() {
    let grid = Grid::shared();
    let client = with_tree(&grid, "pipe");
    for verb in ["ls", "manifest", "find", "tree", "du", "stats"] {
        let mut child =
            client.command([verb, "d:"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let done = child.wait_with_output().unwrap();
        let err = String::from_utf8(done.stderr).unwrap();
        assert!(done.status.success() && err.is_empty(), "{verb}: {} {err}", done.status);
    }
}
