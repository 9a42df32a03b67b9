//! What nobody else may see: keys on disk, caps in the process list, caps in logs.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::grid::{Grid, noise, run};

#[test]
fn keys_are_their_owners_alone() {
    let folder = crate::grid::scratch();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let script = r#"umask 000; set -e; cd "$1"
        "$0" introducer init introducer --listen 127.0.0.1:0
        "$0" server init server --listen 127.0.0.1:0 --introducer "$(cat introducer/introducer.url)"
        "$0" --dir client init --introducer "$(cat introducer/introducer.url)"
        "$0" --dir client get URI:LIT:nbswy3dp got"#;
    run(Command::new("sh").args(["-c", script, crate::grid::PROGRAM]).arg(folder.path())).ok();
    let mode = |name: &str| fs::metadata(folder.path().join(name)).unwrap().permissions().mode() & 0o777;
    for secret in [
        "introducer/node.key",
        "server/node.key",
        "server/storage/identity",
        "client/private/account.key",
        "client/private/convergence",
    ] {
        assert_eq!(mode(secret), 0o600, "{secret}");
    }
    assert_eq!(mode("client/private"), 0o700);
    let mut secrets = Vec::new();
    collect(folder.path(), &mut secrets);
    assert!(secrets.iter().all(|(_, mode)| mode & 0o002 == 0), "writable by everybody: {secrets:?}");
    // A key that others can read is refused, and the way out is said.
    let server = folder.path().join("server");
    fs::set_permissions(server.join("node.key"), fs::Permissions::from_mode(0o644)).unwrap();
    run(crate::grid::sarsen().args(["server", "run"]).arg(server)).fails(1, &["node.key", "600"]);
    let account = folder.path().join("client/private/account.key");
    fs::set_permissions(account, fs::Permissions::from_mode(0o640)).unwrap();
    let client = folder.path().join("client");
    run(crate::grid::sarsen().args(["status", "--dir"]).arg(client)).fails(1, &["account.key", "600"]);
}

/// Every file that the nodes made, with its mode.
fn collect(folder: &Path, into: &mut Vec<(std::path::PathBuf, u32)>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            collect(&entry.path(), into);
        } else if entry.file_name() != "got" {
            // What `get` writes follows the umask, as with any program.
            into.push((entry.path(), entry.metadata().unwrap().permissions().mode() & 0o777));
        }
    }
}

#[test]
fn no_log_holds_a_key() {
    let mut grid = Grid::prepare(3, "1/2/3");
    for server in &mut grid.servers {
        server.start_talkative();
    }
    crate::grid::eventually("all are connected", || grid.client.connected() == 3);
    let file = grid.file("file", 80, 900_000);
    let mut said = String::new();
    let put = run(grid.client.command(["put", "-vv"]).arg(&file)).ok();
    let cap = put.line();
    said += &put.err;
    let mut get = |args: &[&str]| {
        let ran = run(grid.client.command(args).env("SARSEN_CAP", &cap));
        said += &ran.err;
        ran
    };
    assert!(get(&["get", "-vv", "env:"]).ok().out == noise(80, 900_000));
    get(&["get", "-vv", &cap, "--range", "900001-900002"]).fails(2, &[]);
    get(&["get", "-vv", &cap.replace(":1:3:", ":1:4:")]).fails(6, &[]);
    get(&["get", "-vv", &cap[..cap.len() - 1].replace(":1:3:", ":4:3:")]).fails(2, &[]);
    get(&["share", "show", "/nowhere"]).fails(1, &[]);
    for server in &mut grid.servers {
        server.stop();
    }
    get(&["get", "-vv", "env:"]).fails(5, &[]);
    let key = cap.split(':').nth(2).unwrap();
    let index = grid.client.run(["cap", "show", &cap, "--json"]).ok().json();
    let index = index["weaker"]["verify"].as_str().unwrap().split(':').nth(2).unwrap().to_owned();
    let logs = grid.logs();
    assert!(logs.contains("DEBUG") && said.contains("DEBUG"), "the logs are detailed");
    for secret in [key, &index] {
        assert!(!said.contains(secret), "the client says it");
        assert!(!logs.contains(secret), "a server logs it");
    }
    assert!(!logs.contains('\u{1b}') && !said.contains('\u{1b}'), "colours where there is no terminal");
    // On their disks there is the object under H, and neither key nor storage index.
    for server in &grid.servers {
        let found =
            Command::new("grep").args(["-rlaF", "-e", key, "-e", &index]).arg(&server.dir).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&found.stdout), "");
    }
}

#[test]
fn the_process_list_need_not_show_a_cap() {
    let grid = Grid::shared();
    let cap = grid.client.put(&grid.file("listed", 81, 20_000_000));
    let key = cap.split(':').nth(2).unwrap();
    let mut get = grid.client.command(["get", "env:", "-", "--bwlimit", "1MB"]);
    get.env("SARSEN_CAP", &cap).stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let mut get = get.spawn().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(300));
    let argv = |pid: u32| fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let mine = argv(get.id());
    assert!(mine.contains("env:") && !mine.contains(key), "{mine}");
    get.kill().unwrap();
    get.wait().unwrap();
}
