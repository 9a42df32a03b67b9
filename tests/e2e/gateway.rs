//! The gateway, as programs written for Tahoe-LAFS meet it: the stock client, unchanged, on a live grid.

use std::fs::{self, File};
use std::io::Write;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;

use crate::grid::{Grid, ended, eventually, run, sarsen, signal};

/// A gateway that runs until it is dropped.
struct Gateway {
    log: PathBuf,
    child: Child,
}

impl Gateway {
    #[track_caller]
    fn start(grid: &Grid, args: &[&str]) -> Self {
        let log = grid.path("gateway.log");
        let mut command = grid.client.command(["gateway", "run", "--listen", "127.0.0.1:0"]);
        command.args(args).stdout(Stdio::null()).stderr(File::create(&log).unwrap());
        let mut gateway = Self { log, child: command.spawn().unwrap() };
        eventually("the gateway listens", || {
            assert!(gateway.child.try_wait().unwrap().is_none(), "{}", gateway.log());
            gateway.log().contains("gateway listens on ")
        });
        gateway
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The stock client: `cargo xtask test` names the one that it installed.
fn tahoe() -> PathBuf {
    let given = std::env::var_os("SARSEN_TAHOE");
    let path: PathBuf = given.map_or_else(|| "tahoe".into(), Into::into);
    let done = Command::new(&path).arg("--version").output();
    let said =
        done.as_ref().map(|done| String::from_utf8_lossy(&done.stdout).into_owned()).unwrap_or_default();
    assert!(
        said.contains("tahoe-lafs/1.20.0"),
        "no tahoe-lafs 1.20.0 at {}: run the tests by `cargo xtask test`, or set SARSEN_TAHOE to one",
        path.display()
    );
    path
}

fn drive(node: &Path, folder: &Path, args: &[&str]) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/tahoe_client.py");
    let mut command = Command::new("python3");
    command.arg(script).arg(tahoe()).arg(node).arg(folder).args(args).stdin(Stdio::null());
    let done = run(&mut command);
    assert_eq!(done.code, Some(0), "{}{}", done.text(), done.err);
}

#[test]
fn the_stock_tahoe_client_does_all_it_can() {
    let mut grid = Grid::start(10, "3/7/10");
    let (node, folder) = (grid.path("tahoe"), grid.path("work"));
    fs::create_dir(&folder).unwrap();
    let mut gateway = Gateway::start(&grid, &["--tahoe-dir", node.to_str().unwrap()]);
    drive(&node, &folder, &[]);
    // With two of ten servers nothing is to be had, and the client is told so.
    grid.servers.iter_mut().skip(2).for_each(crate::grid::Daemon::kill);
    drive(&node, &folder, &["few"]);
    let log = gateway.log();
    assert!(!log.contains("URI:") && !log.contains("panicked"), "{log}");
    signal(&gateway.child, Signal::TERM);
    assert_eq!(ended(&mut gateway.child).code(), Some(0), "{}", gateway.log());
}

#[test]
fn the_token_is_its_owners_alone() {
    let grid = Grid::start(1, "1/1/1");
    let token = grid.path("client").join("gateway.token");
    let mode = || fs::metadata(&token).unwrap().permissions().mode() & 0o777;
    grid.client.run(["gateway", "url"]).fails(1, &["sarsen gateway run"]);
    let mut tokens = Vec::new();
    for (open, said) in [(0o600, ""), (0o640, "only its owner"), (0o644, "a new token")] {
        if token.exists() {
            fs::set_permissions(&token, fs::Permissions::from_mode(open)).unwrap();
        }
        let mut gateway = Gateway::start(&grid, &[]);
        assert_eq!(mode(), 0o600);
        eventually("it says where the token is", || gateway.log().contains("sarsen gateway url"));
        assert!(gateway.log().contains(said), "{}", gateway.log());
        let text = fs::read_to_string(&token).unwrap().trim().to_owned();
        assert!(!gateway.log().contains(&text), "the log shows the token");
        let url = grid.client.run(["gateway", "url"]).ok().line();
        assert!(gateway.log().contains(url.split('#').next().unwrap()), "{url}");
        assert_eq!(url.split_once("#token=").unwrap().1, text);
        tokens.push(text);
        signal(&gateway.child, Signal::TERM);
        assert_eq!(ended(&mut gateway.child).code(), Some(0), "{}", gateway.log());
    }
    assert!(tokens[0] == tokens[1] && tokens[1] != tokens[2]);
    let first = Gateway::start(&grid, &[]);
    let url = grid.client.run(["gateway", "url"]).ok().line();
    let at = url.split('#').next().unwrap();
    let again = grid.client.run(["gateway", "run", "--listen", "0"]);
    again.fails(1, &[&format!("runs already, at {at}"), "hint: `sarsen gateway url`"]);
    assert_eq!(grid.client.run(["gateway", "url"]).ok().line(), url);
    // Another client's gateway cannot have its port.
    let port = at.trim_end_matches('/').rsplit(':').next().unwrap();
    let other = grid.another_client("other", "1/1/1");
    other
        .run(["gateway", "run", "--listen", port])
        .fails(1, &["cannot listen on", "--listen 127.0.0.1:3457"]);
    let log = grid.path("quiet.log");
    let mut quiet = other.command(["gateway", "run", "-q", "--listen", "0"]);
    let mut quiet = quiet.stdout(Stdio::null()).stderr(File::create(&log).unwrap()).spawn().unwrap();
    eventually("it listens", || other.run(["gateway", "url"]).code == Some(0));
    signal(&quiet, Signal::TERM);
    assert_eq!((ended(&mut quiet).code(), fs::read_to_string(&log).unwrap()), (Some(0), String::new()));
    // One that was killed has said good-bye to nobody.
    drop(first);
    grid.client.run(["gateway", "url"]).fails(1, &["sarsen gateway run"]);
}

#[test]
fn a_gateway_that_is_stopped_says_what_it_waits_for() {
    let mut grid = Grid::start(1, "1/1/1");
    let start = |grid: &Grid| {
        let gateway = Gateway::start(grid, &[]);
        let log = gateway.log();
        let at = log.split("http://").nth(1).unwrap().split('/').next().unwrap().to_owned();
        (gateway, at)
    };
    let (mut gateway, at) = start(&grid);
    let mut upload = TcpStream::connect(&at).unwrap();
    write!(upload, "PUT /uri HTTP/1.1\r\nHost: {at}\r\nContent-Length: 1000\r\n\r\nsome").unwrap();
    let mut answered = TcpStream::connect(&at).unwrap();
    write!(answered, "GET /healthz HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n").unwrap();
    assert!(std::io::read_to_string(answered).unwrap().ends_with("ok\n"));
    signal(&gateway.child, Signal::INT);
    eventually("it says so", || gateway.log().contains("stopping: 1 request under way"));
    signal(&gateway.child, Signal::INT);
    assert_eq!(ended(&mut gateway.child).code(), Some(0), "{}", gateway.log());
    let log = gateway.log();
    assert!(log.contains("1 request given up") && !log.contains("WARN"), "{log}");
    // Who is served by nobody is told, and is served.
    grid.servers[0].kill();
    let (gateway, _at) = start(&grid);
    eventually("it says so", || gateway.log().contains("none of 1 known server answers"));
}

#[test]
fn a_gateway_beyond_this_machine_wants_tls() {
    let folder = crate::grid::scratch();
    let refused = |args: &[&str], code, words: &[&str]| {
        let mut command = sarsen();
        command.args(["gateway", "run", "--listen"]).args(args).env("SARSEN_DIR", folder.path());
        run(&mut command).fails(code, words);
    };
    refused(&["0.0.0.0:0"], 2, &["--tls-cert", "--insecure"]);
    refused(&["0.0.0.0:0", "--insecure", "--tahoe-dir", "d"], 2, &["--tahoe-dir is of no use"]);
    refused(&["grid.example"], 2, &["IP:PORT is wanted"]);
    refused(&["0", "--host", "http://a"], 2, &["a name or an address is wanted"]);
    refused(&["0"], 1, &["is not a client's directory", "sarsen init"]);
    run(sarsen().args(["gateway", "url"]).env("SARSEN_DIR", folder.path())).fails(1, &["sarsen init"]);
    fs::write(folder.path().join("tahoe.cfg"), "").unwrap();
    let node = folder.path().to_str().unwrap();
    refused(&["0", "--tahoe-dir", node], 2, &["is the folder of a Tahoe node", "hint: name a new folder"]);
}
