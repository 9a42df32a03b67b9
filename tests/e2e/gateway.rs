//! The gateway, as programs written for Tahoe-LAFS meet it: the stock client, unchanged, on a live grid.

use std::fs::{self, File};
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
    // One that was killed has said good-bye to nobody.
    drop(Gateway::start(&grid, &[]));
    grid.client.run(["gateway", "url"]).fails(1, &["sarsen gateway run"]);
}

#[test]
fn a_gateway_beyond_this_machine_wants_tls() {
    let folder = crate::grid::scratch();
    let mut command = sarsen();
    command.args(["gateway", "run", "--listen", "0.0.0.0:0"]).env("SARSEN_DIR", folder.path());
    run(&mut command).fails(2, &["--tls-cert", "--insecure"]);
}
