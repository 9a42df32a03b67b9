//! The mount, as the kernel and real programs use it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::grid::{Client, Daemon, Grid, eventually, noise, run, url};

/// A directory mounted in the background; taken away when it is dropped.
struct Mounted {
    client: Client,
    at: PathBuf,
}

impl Mounted {
    #[track_caller]
    fn start(client: &Client, what: &str, at: PathBuf) -> Self {
        assert!(
            Path::new("/dev/fuse").exists(),
            "the tests of the mount want /dev/fuse and fusermount3 (package fuse3)"
        );
        fs::create_dir_all(&at).unwrap();
        client.run(["mount", what, at.to_str().unwrap(), "--daemon"]).ok();
        Self { client: client.clone(), at }
    }

    /// Ends it in order: when this returns, all is on the grid.
    #[track_caller]
    fn end(self) {
        self.client.run(["-q", "umount", self.at.to_str().unwrap()]).ok();
    }

    fn process(&self) -> String {
        let notes = fs::read_dir(self.client.dir.join("mounts")).unwrap().flatten();
        let inside = notes.filter_map(|entry| fs::read_dir(entry.path()).ok()).flat_map(Iterator::flatten);
        let here = inside.filter(|note| note.file_name().to_string_lossy().starts_with("mounted-"));
        let here = here.filter_map(|note| fs::read_to_string(note.path()).ok());
        let ours = here.filter(|note| note.contains(self.at.to_str().unwrap())).collect::<Vec<_>>();
        ours.first().expect("it is mounted").lines().next().unwrap().to_owned()
    }

    /// As if the machine had taken it away in the middle of everything.
    fn kill(self) -> PathBuf {
        run(Command::new("kill").args(["-9", &self.process()])).ok();
        let at = self.at.clone();
        run(Command::new("fusermount3").arg("-uz").arg(&at));
        eventually("nothing is mounted", || fs::read_dir(&at).is_ok_and(|mut names| names.next().is_none()));
        at
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("fusermount3").arg("-uz").arg(&self.at).stderr(Stdio::null()).status();
    }
}

/// A grid and a directory on it.
fn begin(servers: usize, shares: &str) -> (Grid, String) {
    let grid = Grid::start(servers, shares);
    grid.client.run(["-q", "alias", "create", "home"]).ok();
    let cap = grid.client.run(["-q", "mkdir", "home:files"]).ok().line();
    (grid, cap)
}

#[test]
fn real_programs_work_on_a_mount() {
    let (mut grid, cap) = begin(5, "2/3/5");
    let (here, script) =
        (grid.path("here"), Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/mount.sh"));
    fs::create_dir(&here).unwrap();
    let mounted = Mounted::start(&grid.client, "home:files", grid.path("mounted"));
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("caps/src");
    // While they work, a server dies and is started again.
    let mut server = grid.servers.remove(0);
    let dying = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(200));
        server.kill();
        std::thread::sleep(Duration::from_millis(1000));
        server.start();
        server
    });
    let ran = run(Command::new("sh").arg(&script).args([&mounted.at, &here, &sources]));
    grid.servers.push(dying.join().unwrap());
    assert!(ran.code == Some(0) && ran.text().ends_with("done\n"), "{}{}", ran.text(), ran.err);
    mounted.end();
    // What the mount showed is on the grid: another client sees it, and may change nothing with a cap that only reads.
    let other = Client::new(grid.path("other"), &[url(&grid.introducer)], "2/3/5");
    let read = other.run(["cap", "show", "--json", &cap]).ok().json();
    let read = read["weaker"]["read"].as_str().expect("a read cap").to_owned();
    let reading = Mounted::start(&other, &read, grid.path("reading"));
    run(Command::new("diff").arg("-r").args([reading.at.join("tree"), here.join("tree")])).ok();
    let refused = fs::write(reading.at.join("new"), b"x").unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(libc::EROFS));
    let listed = fs::read_to_string("/proc/mounts").unwrap();
    assert!(!listed.contains("URI:"), "a cap in the list of mounts");
    reading.end();
}

#[test]
fn a_mount_that_is_killed_loses_nothing_that_was_synced() {
    let (grid, _) = begin(5, "2/3/5");
    let mounted = Mounted::start(&grid.client, "home:files", grid.path("mounted"));
    let program = "import sqlite3, sys\nbase = sqlite3.connect(sys.argv[1])\nbase.execute('create table t(x)')\nfor n in range(1000):\n base.execute('insert into t values (?)', (n,)); base.commit(); print(n, flush=True)\n";
    let mut writing = Command::new("python3")
        .args(["-c", program])
        .arg(mounted.at.join("base.db"))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(writing.stdout.take().unwrap()).lines();
    let mut last: u64 =
        lines.by_ref().take(60).map(|line| line.unwrap().parse::<u64>().unwrap()).last().unwrap();
    // Not synced, and closed: in the journal.
    fs::write(mounted.at.join("closed"), noise(1, 300_000)).unwrap();
    let at = mounted.kill();
    last = lines.map_while(Result::ok).filter_map(|line| line.parse().ok()).last().unwrap_or(last);
    let _ = writing.wait();
    let mounted = Mounted::start(&grid.client, "home:files", at);
    let check = "import sqlite3, sys\nbase = sqlite3.connect(sys.argv[1])\nassert base.execute('pragma integrity_check').fetchone() == ('ok',)\nprint(base.execute('select count(*) from t').fetchone()[0])\n";
    let ran = run(Command::new("python3").args(["-c", check]).arg(mounted.at.join("base.db"))).ok();
    let count: u64 = ran.line().parse().unwrap();
    assert!(count > last, "{count} of {} committed rows", last + 1);
    assert_eq!(fs::read(mounted.at.join("closed")).unwrap(), noise(1, 300_000));
    mounted.end();
    let back = grid.client.run(["-q", "get", "home:files/closed", "-"]).ok();
    assert_eq!(back.out, noise(1, 300_000));
}

#[test]
fn what_the_grid_does_not_take_waits_for_the_next_mount() {
    let (mut grid, _) = begin(5, "2/3/5");
    let mounted = Mounted::start(&grid.client, "home:files", grid.path("mounted"));
    grid.servers.iter_mut().for_each(Daemon::kill);
    fs::write(mounted.at.join("kept"), noise(2, 200_000)).unwrap();
    let (process, at) = (mounted.process(), mounted.at.clone());
    let ending = {
        let (client, at) = (grid.client.clone(), at.clone());
        std::thread::spawn(move || client.run(["umount", at.to_str().unwrap()]))
    };
    eventually("it is unmounted", || fs::read_dir(&at).is_ok_and(|mut names| names.next().is_none()));
    // It is told to try no longer.
    while !ending.is_finished() {
        // One that comes before it has seen that it is unmounted is taken for the wish to be.
        run(Command::new("kill").args(["-INT", &process]));
        std::thread::sleep(Duration::from_millis(500));
    }
    let ended = ending.join().unwrap();
    assert_eq!(ended.code, Some(5), "{}", ended.err);
    assert!(
        ended.err.contains("1 change not on the grid yet") && ended.err.contains("hint: nothing is lost")
    );
    let notes = fs::read_dir(grid.client.dir.join("mounts")).unwrap().flatten();
    let inside = notes.filter_map(|entry| fs::read_dir(entry.path()).ok()).flat_map(Iterator::flatten);
    assert!(inside.map(|note| note.file_name()).all(|name| !name.to_string_lossy().starts_with("mounted-")));
    grid.servers.iter_mut().for_each(Daemon::start);
    let mounted = Mounted::start(&grid.client, "home:files", at);
    assert_eq!(fs::read(mounted.at.join("kept")).unwrap(), noise(2, 200_000));
    mounted.end();
    assert_eq!(grid.client.run(["-q", "get", "home:files/kept", "-"]).ok().out, noise(2, 200_000));
}

#[test]
fn mounts_follow_each_other_and_leave_others_alone() {
    let (grid, cap) = begin(5, "2/3/5");
    let at = grid.path("mounted");
    let take_away = || run(Command::new("fusermount3").arg("-u").arg(&at)).ok();
    let mounted = Mounted::start(&grid.client, "home:files", at.clone());
    fs::write(at.join("f"), noise(4, 3_000_000)).unwrap();
    let twice = grid.client.run(["mount", "home:files", grid.path("here").to_str().unwrap(), "--daemon"]);
    assert_eq!(twice.code, Some(1), "there is no such folder");
    fs::create_dir(grid.path("here")).unwrap();
    let twice = grid.client.run(["mount", "home:files", grid.path("here").to_str().unwrap(), "--daemon"]);
    assert!(twice.code == Some(1) && twice.err.contains("has it mounted on"), "{}", twice.err);
    // The next one waits for the end of the one before, which leaves the next one alone.
    take_away();
    let again = Mounted::start(&grid.client, "home:files", at.clone());
    assert_eq!(fs::read(at.join("f")).unwrap(), noise(4, 3_000_000));
    take_away();
    let read = grid.client.run(["cap", "show", "--json", &cap]).ok().json();
    let reading = Mounted::start(&grid.client, read["weaker"]["read"].as_str().unwrap(), at.clone());
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(fs::read(at.join("f")).unwrap(), noise(4, 3_000_000), "it stays");
    let table = fs::read_to_string("/proc/mounts").unwrap();
    let ours = table.lines().find(|line| line.contains(at.to_str().unwrap())).unwrap();
    assert!(ours.contains(" ro,"), "{ours}");
    reading.end();
    drop((mounted, again));
    let nothing = grid.client.run(["umount", at.to_str().unwrap()]);
    assert!(nothing.code == Some(4) && nothing.err.contains("nothing is mounted"), "{}", nothing.err);
    let other = grid.client.run(["umount", "/proc"]);
    assert!(other.code == Some(1) && other.err.contains("not sarsen's"), "{}", other.err);
}

#[test]
fn two_mounts_edit_while_servers_die() {
    let (mut grid, cap) = begin(5, "2/3/5");
    let other = Client::new(grid.path("other"), &[url(&grid.introducer)], "2/3/5");
    let one = Mounted::start(&grid.client, "home:files", grid.path("one"));
    let two = Mounted::start(&other, &cap, grid.path("two"));
    let write = |at: PathBuf, who: &'static str| {
        std::thread::spawn(move || {
            for number in 0..60 {
                fs::write(at.join(format!("{who}{number}")), noise(number, 20_000)).unwrap();
                std::thread::sleep(Duration::from_millis(30));
            }
        })
    };
    let writers = [write(one.at.clone(), "one"), write(two.at.clone(), "two")];
    // As many as a directory's quorum of four out of five survives.
    grid.servers.iter_mut().take(1).for_each(Daemon::kill);
    writers.into_iter().for_each(|writer| writer.join().unwrap());
    let (one_at, two_at) = (one.at.clone(), two.at.clone());
    one.end();
    let seen = |at: &Path| fs::read_dir(at).map_or(0, Iterator::count);
    two.client.run(["-q", "umount", two_at.to_str().unwrap()]).ok();
    let both = Mounted::start(&grid.client, "home:files", one_at.clone());
    assert_eq!(seen(&one_at), 120);
    for number in (0..60).step_by(7) {
        for who in ["one", "two"] {
            assert_eq!(
                fs::read(one_at.join(format!("{who}{number}"))).unwrap(),
                noise(number, 20_000),
                "{who}{number}"
            );
        }
    }
    both.end();
}

#[test]
fn what_cannot_be_mounted_is_said() {
    let (grid, _) = begin(3, "1/2/3");
    let at = grid.path("at");
    fs::create_dir(&at).unwrap();
    let at = at.to_str().unwrap();
    grid.client.run(["mount", "home:nothing", at]).fails(4, &["nothing"]);
    grid.client.run(["mount", "home:files", at, "-o", "colour=red"]).fails(2, &["colour=red"]);
    grid.client.run(["mount", "home:files", "/nowhere/at/all"]).fails(1, &["/nowhere/at/all"]);
    grid.client.run(["mount", "home:nothing", at, "--daemon"]).fails(4, &["nothing"]);
    grid.client.run(["umount", at]).fails(4, &["nothing is mounted", at]);
}
