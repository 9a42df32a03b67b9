//! Putting and getting files.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
use std::process::Stdio;
use std::time::Duration;

use crate::grid::{Grid, Ran, noise, note, run, sarsen};

#[test]
fn put_prints_the_cap_alone() {
    let grid = Grid::shared();
    let file = grid.file("alone", 1, 100_000);
    let ran = grid.client.run(["put".as_ref(), file.as_os_str()]).ok();
    assert!(ran.line().starts_with("URI:CHK:") && ran.line().ends_with(":3:10:100000"), "{}", ran.text());
    assert!(ran.err.contains("10 shares on 10 servers"), "{}", ran.err);
    let again = grid.client.run(["put".as_ref(), file.as_os_str(), "--quiet".as_ref()]).ok();
    assert_eq!((again.line(), again.err.as_str()), (ran.line(), ""));
    let json = grid.client.put_json(&file);
    assert_eq!(json["cap"], ran.line());
    assert_eq!(
        (json["sent"].as_u64(), json["size"].as_u64()),
        (Some(0), Some(100_000)),
        "it is there already"
    );
    assert_eq!(json["shares"].as_array().unwrap().len(), 10);
}

#[test]
fn get_writes_where_it_is_told() {
    let grid = Grid::shared();
    let data = noise(2, 1_000_000);
    let file = grid.path("where");
    fs::write(&file, &data).unwrap();
    let cap = grid.client.put(&file);
    let (a, b) = (grid.path("where-a"), grid.path("where-b"));
    let (a, b) = (a.to_str().unwrap(), b.to_str().unwrap());
    for (args, place) in [(vec![&*cap, a], a), (vec![&*cap, "-o", b], b), (vec![&*cap, "--output", b], b)] {
        let ran = grid.client.run([vec!["get"], args].concat()).ok();
        assert!(ran.out.is_empty());
        assert!(fs::read(place).unwrap() == data);
    }
    for args in [vec![&*cap], vec![&*cap, "-"], vec![&*cap, "-o", "-"]] {
        assert!(grid.client.run([vec!["get"], args].concat()).ok().out == data);
    }
    let json = grid.client.run(["get", &cap, a, "--json"]).ok().json();
    assert_eq!((json["bytes"].as_u64(), json["complaints"].as_array().unwrap().len()), (Some(1_000_000), 0));
    let beside: Vec<_> = fs::read_dir(grid.folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with(".where"))
        .collect();
    assert!(beside.is_empty(), "{beside:?} are left");
    grid.client.run(["get", &cap, grid.folder().to_str().unwrap()]).fails(1, &["is a folder"]);
    grid.client.run(["get", &cap, "/nowhere/at/all"]).fails(1, &["cannot write beside /nowhere/at/all"]);
    // What has no place is not fetched.
    let none = grid.path("where-none").into_os_string().into_string().unwrap() + "/";
    grid.client.run(["get", &cap, &none]).fails(1, &["there is no folder", "where-none/"]);
    let left = fs::read_dir(grid.folder()).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(left.into_iter().all(|name| !name.to_string_lossy().starts_with(".where")));
}

#[test]
fn get_replaces_no_fifo_and_no_link() {
    let grid = Grid::shared();
    let data = noise(20, 200_000);
    let file = grid.path("into");
    fs::write(&file, &data).unwrap();
    let caps = [grid.client.put(&file), grid.client.run_with(&["put"], b"few bytes").ok().line()];
    for (number, (cap, data)) in caps.iter().zip([&data[..], b"few bytes"]).enumerate() {
        let fifo = grid.path(&format!("into-fifo{number}"));
        assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        let reader = std::thread::spawn({
            let fifo = fifo.clone();
            move || fs::read(fifo).unwrap()
        });
        run(grid.client.command(["get", cap]).arg(&fifo)).ok();
        assert!(fs::symlink_metadata(&fifo).unwrap().file_type().is_fifo(), "it is still what it was");
        assert!(reader.join().unwrap() == data);

        let (real, link) =
            (grid.path(&format!("into-real{number}")), grid.path(&format!("into-link{number}")));
        fs::write(&real, "old").unwrap();
        fs::set_permissions(&real, fs::Permissions::from_mode(0o600)).unwrap();
        symlink(&real, &link).unwrap();
        run(grid.client.command(["get", cap]).arg(&link)).ok();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert!(fs::read(&real).unwrap() == data);
        assert_eq!(fs::metadata(&real).unwrap().permissions().mode() & 0o777, 0o600);
    }
    // Standard output is what it is, by whatever name.
    assert!(grid.client.run(["get", &caps[0], "/dev/stdout"]).ok().out == data);
}

#[test]
fn a_cap_need_not_stand_in_argv() {
    let grid = Grid::shared();
    let data = noise(3, 5000);
    let file = grid.path("argv");
    fs::write(&file, &data).unwrap();
    let cap = grid.client.put(&file);
    for line in [cap.clone(), format!("{cap}\n"), format!("{cap}\r\n")] {
        let at = grid.path("argv.cap");
        fs::write(&at, &line).unwrap();
        assert!(grid.client.get(&format!("@{}", at.display())) == data);
        assert!(grid.client.run_with(&["get", "-"], line.as_bytes()).ok().out == data);
    }
    assert!(run(grid.client.command(["get", "env:"]).env("SARSEN_CAP", &cap)).ok().out == data);
    grid.client.run(["get", "env:"]).fails(1, &["$SARSEN_CAP holds no capability"]);
    grid.client.run(["get", "@/nowhere"]).fails(1, &["cannot read a capability from /nowhere"]);
    let long = vec![b'a'; 1 << 20];
    grid.client.run_with(&["get", "-"], &long).fails(1, &["too long for a capability"]);
}

#[test]
fn ranges_include_both_ends() {
    let grid = Grid::shared();
    let data = noise(4, 3_000_000);
    let file = grid.path("ranges");
    fs::write(&file, &data).unwrap();
    let cap = grid.client.put(&file);
    for (start, end) in
        [(0, 0), (0, 9), (16_367, 16_368), (786_431, 786_432), (1, 2_999_999), (2_999_999, 2_999_999)]
    {
        let range = format!("{start}-{end}");
        assert!(grid.client.run(["get", &cap, "--range", &range]).ok().out == data[start..=end], "{range}");
    }
    let past = grid.client.run(["get", &cap, "--range", "2999990-4000000"]).ok();
    assert!(past.out == data[2_999_990..], "what lies past the end is left out");
    grid.client
        .run(["get", &cap, "--range", "3000000-3000001"])
        .fails(2, &["is not within a file of 3000000 bytes"]);
    let place = grid.path("ranges-out");
    grid.client.run(["get", &cap, place.to_str().unwrap(), "--range", "5-99"]).ok();
    assert!(fs::read(place).unwrap() == data[5..100]);
}

#[test]
fn standard_input_is_stored() {
    let grid = Grid::shared();
    for (seed, args) in [&["put", "-"][..], &["put"], &["put", "/dev/stdin"]].into_iter().enumerate() {
        let data = noise(50 + seed as u64, 2_000_000);
        let cap = grid.client.run_with(args, &data).ok().line();
        assert!(grid.client.get(&cap) == data, "{args:?}");
    }
}

#[test]
fn standard_input_of_any_length_and_pace() {
    let grid = Grid::shared();
    let data = noise(5, 50_000_000);
    let mut command = grid.client.command(["put", "-q"]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    for piece in data.chunks(7_654_321) {
        stdin.write_all(piece).unwrap();
        std::thread::sleep(Duration::from_millis(150));
    }
    drop(stdin);
    let done = child.wait_with_output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let cap = String::from_utf8(done.stdout).unwrap();
    assert!(grid.client.get(cap.trim()) == data);
}

#[test]
fn small_files_and_literals() {
    let grid = Grid::shared();
    for len in [0, 1, 54, 55, 56, 57, 16_367, 16_368, 16_369] {
        let data = noise(6, len);
        let file = grid.path(&format!("small-{len}"));
        fs::write(&file, &data).unwrap();
        for cap in [grid.client.put(&file), grid.client.run_with(&["put"], &data).ok().line()] {
            let literal = cap.starts_with("URI:LIT:");
            assert_eq!(literal, len <= 55, "{len}: {cap}");
            assert!(grid.client.get(&cap) == data, "{len}");
            let place = grid.path("small-out");
            grid.client.run(["get", &cap, place.to_str().unwrap()]).ok();
            assert!(fs::read(&place).unwrap() == data, "{len}");
            if literal {
                // No grid and no client's directory are needed.
                assert!(run(sarsen().args(["--dir", "/nowhere", "get", &cap])).ok().out == data);
            }
        }
    }
}

#[test]
fn few_and_many_shares() {
    let grid = Grid::shared();
    let one = Grid::start(1, "1/1/1");
    let data = noise(7, 300_000);
    let file = grid.path("few-and-many");
    fs::write(&file, &data).unwrap();
    let alone = one.client.put(&file);
    assert!(alone.ends_with(":1:1:300000") && one.client.get(&alone) == data);
    for (name, shares) in [("many", "3/7/256"), ("whole", "10/10/10"), ("copies", "1/7/10")] {
        let client = grid.another_client(name, shares);
        let json = client.put_json(&file);
        let total: usize = shares.rsplit('/').next().unwrap().parse().unwrap();
        assert_eq!(json["shares"].as_array().unwrap().len(), total);
        assert_eq!(json["happiness"], 10);
        assert!(grid.client.get(json["cap"].as_str().unwrap()) == data, "{shares}");
    }
    // A literal still needs no server, however many are asked for.
    let client = grid.another_client("too-many", "11/11/11");
    client.run(["put".as_ref(), file.as_os_str()]).fails(5, &["10 servers hold a share", "11 are wanted"]);
    for shares in ["3/2/10", "0/1/1", "100/10/256", "3/7/257", "3/11/10", "3/7", "a/b/c", "3/7/10/11"] {
        let fresh = grid.path("never");
        run(sarsen().args(["init", "--shares", shares]).env("SARSEN_DIR", &fresh)).fails(2, &[shares]);
        assert!(!fresh.exists());
    }
}

#[test]
fn one_file_put_twice_at_once() {
    let grid = Grid::shared();
    let data = noise(8, 20_000_000);
    let file = grid.path("twice");
    fs::write(&file, &data).unwrap();
    let both: Vec<_> = (0..2)
        .map(|_| {
            let mut command = grid.client.command(["put".as_ref(), file.as_os_str()]);
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    let caps: Vec<String> = both
        .into_iter()
        .map(|child| {
            let done = child.wait_with_output().unwrap();
            let err = String::from_utf8(done.stderr).unwrap();
            Ran { code: done.status.code(), out: done.stdout, err }.ok().line()
        })
        .collect();
    assert_eq!(caps[0], caps[1]);
    assert!(grid.client.get(&caps[0]) == data);
}

#[test]
fn inputs_that_cannot_be_read() {
    let grid = Grid::shared();
    grid.client.run(["put", "/nowhere/at/all"]).fails(1, &["cannot read /nowhere/at/all"]);
    grid.client.run(["put".as_ref(), grid.folder().as_os_str()]).fails(1, &["is a folder"]);
}

#[test]
fn a_long_stream_of_as_many_shares_as_are_needed() {
    let grid = Grid::start(3, "3/3/3");
    stream_through(&grid, 64 << 20);
    if std::env::var_os("SARSEN_LONG").is_some_and(|long| long == "1") {
        stream_through(&grid, 10 << 30);
    } else {
        note("the stream of 10 GiB is left out; SARSEN_LONG=1 runs it");
    }
}

/// Puts and gets a stream of this length, holding little of it at a time.
fn stream_through(grid: &Grid, len: u64) {
    let mut put = grid.client.command(["put", "-q"]);
    let mut put = put.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = put.stdin.take().unwrap();
    let hasher = || blake3::Hasher::new().update(b"a long stream").finalize_xof();
    let mut piece = vec![0; 1 << 20];
    let mut source = hasher();
    for _ in 0..len >> 20 {
        source.fill(&mut piece);
        stdin.write_all(&piece).unwrap();
    }
    drop(stdin);
    let done = put.wait_with_output().unwrap();
    assert!(done.status.success());
    let cap = String::from_utf8(done.stdout).unwrap();
    let mut get = grid.client.command(["get", "-q", cap.trim()]).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdout = get.stdout.take().unwrap();
    let (mut source, mut got) = (hasher(), vec![0; 1 << 20]);
    for at in 0..len >> 20 {
        source.fill(&mut piece);
        stdout.read_exact(&mut got).unwrap();
        assert!(got == piece, "MiB {at} differs");
    }
    assert_eq!(stdout.read(&mut got).unwrap(), 0, "nothing follows");
    assert!(get.wait().unwrap().success());
}
