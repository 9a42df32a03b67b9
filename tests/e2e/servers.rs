//! The life of a server: started, stopped, configured, restarted, its disks moved and lost.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::grid::{Grid, Ran, noise, run, sarsen, share_files};

#[test]
fn sigterm_drains() {
    let mut grid = Grid::start(3, "1/3/3");
    let file = grid.file("file", 40, 6_000_000);
    // About two seconds.
    let mut put = grid.client.command(["put".as_ref(), file.as_os_str(), "--json".as_ref()]);
    let put = put.args(["--bwlimit", "9MB"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(900));
    grid.servers[1].terminate();
    let done = put.wait_with_output().unwrap();
    let err = String::from_utf8(done.stderr).unwrap();
    let json = Ran { code: done.status.code(), out: done.stdout, err }.ok().json();
    assert_eq!(
        (json["happiness"].as_u64(), json["failures"].as_array().unwrap().len()),
        (Some(3), 0),
        "{json}"
    );
    assert_eq!(grid.servers[1].stopped().code(), Some(0));
    let log = grid.servers[1].log();
    assert!(log.contains("finishing what is under way") && log.contains("stopped"), "{log}");
    // The share that it took while it was told to stop is there after the restart, and alone gives the file back.
    grid.servers[0].stop();
    grid.servers[2].stop();
    grid.servers[1].start();
    assert!(grid.client.get(json["cap"].as_str().unwrap()) == noise(40, 6_000_000));
    // The introducer too.
    grid.introducer.stop();
}

#[test]
fn one_directory_is_one_process() {
    let grid = Grid::shared();
    for (daemon, words) in
        [(&grid.servers[0], "is running already"), (&grid.introducer, "another introducer runs")]
    {
        run(&mut daemon.command()).fails(1, &[words]);
    }
    let server = &grid.servers[0];
    let mut again = sarsen();
    again.args(["server", "init", "--introducer", &crate::grid::url(&grid.introducer)]).arg(&server.dir);
    run(&mut again).fails(1, &["holds a server already"]);
    let mut thief = sarsen();
    thief.args(["server", "init", "--introducer", &crate::grid::url(&grid.introducer), "--storage"]);
    thief.arg(server.storage()).arg(grid.path("thief"));
    run(&mut thief).fails(1, &["is in use by another process"]);
    assert!(!grid.path("thief/server.toml").exists());
    run(sarsen().args(["introducer", "init"]).arg(&grid.introducer.dir)).fails(1, &["already"]);
    run(sarsen().args(["server", "run", "/nowhere"])).fails(1, &["holds no server", "sarsen server init"]);
    run(sarsen().args(["introducer", "run", "/nowhere"])).fails(1, &["/nowhere"]);
}

#[test]
fn a_wrong_configuration_is_refused_with_its_line() {
    let mut grid = Grid::prepare(1, "1/1/1");
    let server = grid.servers.remove(0);
    let whole = fs::read_to_string(server.dir.join("server.toml")).unwrap();
    let line = 1 + whole.lines().position(|line| line.starts_with("nickname")).unwrap();
    for (from, to, word) in [
        ("nickname =", "nickame =", "nickame"),
        ("nickname = ", "nickname = 7 # ", "invalid type"),
        ("nickname =", "nickname", "expected"),
    ] {
        server.configure(from, to);
        run(&mut server.command()).fails(1, &["server.toml", &format!("line {line}"), word]);
        fs::write(server.dir.join("server.toml"), &whole).unwrap();
    }
    server.configure("listen = \"127.0.0.1", "listen = \"192.0.2.1");
    run(&mut server.command()).fails(1, &["cannot listen on 192.0.2.1"]);
    grid.introducer.configure("listen =", "lisen =");
    run(&mut grid.introducer.command()).fails(1, &["introducer.toml", "line", "lisen"]);
    // A client's settings as well.
    let settings = grid.client.dir.join("sarsen.toml");
    let text = fs::read_to_string(&settings).unwrap();
    fs::write(&settings, text.replace("needed = ", "neded = ")).unwrap();
    grid.client.run(["status"]).fails(1, &["sarsen.toml", "line", "neded"]);
}

#[test]
fn shares_survive_restarts_and_moves() {
    let mut grid = Grid::start(3, "1/2/2");
    // A packed share and one with a file of its own.
    let files = [grid.file("small", 41, 9_000), grid.file("large", 42, 900_000)];
    let caps = files.clone().map(|file| grid.client.put(&file));
    let readable = |grid: &Grid| {
        caps.iter().zip(&files).all(|(cap, file)| grid.client.get(cap) == fs::read(file).unwrap())
    };
    for server in &mut grid.servers {
        server.restart();
    }
    assert!(readable(&grid));
    let id = grid.client.status_of("server1")["stores"][0]["id"].clone();
    // All stores go to server 2, and the servers that had them are gone.
    let moved: Vec<_> = (0..2)
        .map(|number| {
            let server = &mut grid.servers[number];
            server.stop();
            let (dir, storage) = (server.dir.clone(), server.storage());
            run(sarsen().args(["server", "disk", "remove"]).args([&dir, &storage])).ok();
            run(sarsen().args(["server", "disk", "remove"]).args([&dir, &storage]))
                .fails(1, &["no store at"]);
            let to = grid.path(&format!("moved{number}"));
            fs::rename(storage, &to).unwrap();
            to
        })
        .collect();
    grid.servers[2].stop();
    for storage in &moved {
        let add = || run(sarsen().args(["server", "disk", "add"]).args([&grid.servers[2].dir, storage]));
        assert!(add().ok().err.contains("restart the server"));
        add().fails(1, &["is configured already"]);
    }
    grid.servers[2].start();
    assert!(readable(&grid));
    let status = grid.client.status_of("server2");
    let stores = status["stores"].as_array().unwrap();
    assert!(stores.len() == 3 && stores.iter().any(|store| store["id"] == id), "{status}");
    // A server whose stores are all gone still runs.
    grid.servers[0].start();
    assert_eq!(grid.client.status_of("server0")["stores"].as_array().unwrap().len(), 0);
}

#[test]
fn a_disk_that_is_not_mounted_is_not_filled() {
    let mut grid = Grid::start(2, "1/1/2");
    let server = &mut grid.servers[0];
    server.stop();
    let away = server.dir.join("away");
    fs::rename(server.storage(), &away).unwrap();
    fs::create_dir(server.storage()).unwrap();
    server.start();
    assert!(server.log().contains("the server runs without it"), "{}", server.log());
    let status = grid.client.status_of("server0");
    assert_eq!(
        (status["connected"].as_bool(), status["stores"][0]["state"].as_str()),
        (Some(true), Some("Failed"))
    );
    let text = grid.client.run(["status"]).ok().text();
    assert!(text.contains("takes no shares: it failed"), "{text}");
    let file = grid.file("file", 43, 500_000);
    let json = grid.client.put_json(&file);
    assert!(json["shares"].as_array().unwrap().iter().all(|share| share["nickname"] == "server1"), "{json}");
    let server = &mut grid.servers[0];
    assert_eq!(fs::read_dir(server.storage()).unwrap().count(), 0, "nothing was written there");
    // Another store in its place is no replacement either.
    server.stop();
    fs::remove_dir(server.storage()).unwrap();
    copy(&grid.servers[1].storage(), &grid.servers[0].storage());
    let server = &mut grid.servers[0];
    server.start();
    assert!(server.log().contains("a store cannot be opened"), "{}", server.log());
    assert_eq!(grid.client.status_of("server0")["stores"][0]["state"], "Failed");
    let server = &mut grid.servers[0];
    server.stop();
    fs::remove_dir_all(server.storage()).unwrap();
    fs::rename(away, server.storage()).unwrap();
    server.start();
    assert_eq!(grid.client.status_of("server0")["stores"][0]["state"], "Writable");
}

#[test]
fn one_of_two_disks_is_lost() {
    let mut grid = Grid::start(1, "1/1/1");
    let second = grid.path("second");
    run(sarsen().args(["server", "disk", "add"]).args([&grid.servers[0].dir, &second])).ok();
    grid.servers[0].restart();
    let caps: Vec<_> = (0..12).map(|seed| grid.client.put(&grid.file("file", 440 + seed, 200_000))).collect();
    let (first, other) = (grid.servers[0].share_files().len(), share_files(&second).len());
    assert!(first + other == 12 && first > 0 && other > 0, "{first} and {other}");
    grid.servers[0].kill();
    fs::remove_dir_all(&second).unwrap();
    grid.servers[0].start();
    let codes: Vec<_> = caps.iter().map(|cap| grid.client.run(["get", cap]).code).collect();
    assert_eq!(codes.iter().filter(|code| **code == Some(0)).count(), first);
    assert_eq!(codes.iter().filter(|code| **code == Some(4)).count(), other);
    let status = grid.client.status_of("server0");
    let states: Vec<_> = status["stores"].as_array().unwrap().iter().map(|store| &store["state"]).collect();
    assert_eq!(states, ["Writable", "Failed"]);
    // What is put now goes to the disk that is left.
    let file = grid.file("file", 460, 200_000);
    let cap = grid.client.put(&file);
    assert!(grid.client.get(&cap) == noise(460, 200_000));
    assert!(!second.exists());
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    assert!(Command::new("cp").arg("-a").args([from, to]).status().unwrap().success());
}
