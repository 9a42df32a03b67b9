//! The web page in a real browser, on a grid of real processes. The programs beside this file say what is done in it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::grid::{Client, Grid, eventually, run};

/// A gateway, and what it says.
struct Gateway {
    child: Child,
    log: PathBuf,
}

impl Gateway {
    /// Starts one for this client, on a port of the system's choice.
    #[track_caller]
    fn start(client: &Client, log: PathBuf) -> Self {
        let mut command = client.command(["gateway", "run", "--listen", "127.0.0.1:0"]);
        let child = command.stdout(Stdio::null()).stderr(fs::File::create(&log).unwrap()).spawn().unwrap();
        let gateway = Self { child, log };
        eventually("the gateway listens", || {
            fs::read_to_string(&gateway.log).unwrap().contains("gateway listens on ")
        });
        gateway
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs one of the programs to its end. They end by themselves: every wait in them does.
#[track_caller]
fn in_browser(grid: &Grid, program: &str, mut config: Value) {
    let gateway = Gateway::start(&grid.client, grid.path("gateway.log"));
    let folder = grid.path(program);
    fs::create_dir(&folder).unwrap();
    // The address for people, with the token.
    config["url"] = grid.client.run(["gateway", "url"]).ok().line().into();
    config["folder"] = folder.to_str().unwrap().into();
    let file = grid.path("config.json");
    fs::write(&file, config.to_string()).unwrap();
    let python = std::env::var_os("SARSEN_PYTHON").unwrap_or_else(|| "python3".into());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/web").join(program);
    let ran = run(Command::new(python).arg("-B").arg(script).arg(&file));
    print!("{}", ran.text());
    let log = fs::read_to_string(&gateway.log).unwrap();
    // Where somebody looks at what went wrong, a picture helps.
    if let (Some(kept), true) = (std::env::var_os("SARSEN_PICTURES"), ran.code != Some(0)) {
        let _ = fs::copy(folder.join("failed.png"), Path::new(&kept).join(program).with_extension("png"));
    }
    assert_eq!(ran.code, Some(0), "{}{}\nthe gateway:\n{log}", ran.text(), ran.err);
    for secret in ["URI:", "URI%3A", "#token"] {
        assert!(!log.contains(secret), "the log shows secrets: {log}");
    }
}

#[test]
fn people_upload_browse_change_share_and_watch_servers_die() {
    let grid = Grid::start(10, "3/7/10");
    let pids =
        grid.servers.iter().enumerate().map(|(number, server)| (format!("server{number}"), server.pid()));
    let pids: serde_json::Map<String, Value> = pids.map(|(name, pid)| (name, pid.into())).collect();
    in_browser(&grid, "journey.py", json!({ "pids": pids }));
}

#[test]
fn stored_pages_run_nothing_and_reach_nothing() {
    let grid = Grid::start(10, "3/7/10");
    grid.client.run(["alias", "create", "home"]).ok();
    let victim = grid.client.put(&grid.file("victim", 7, 5000));
    in_browser(&grid, "hostile.py", json!({ "victim": victim }));
}

#[test]
fn addresses_made_by_others_take_no_token_away_and_open_nothing_unasked() {
    let grid = Grid::start(10, "3/7/10");
    grid.client.run(["alias", "create", "home"]).ok();
    let file = grid.client.put(&grid.file("file", 8, 5000));
    let shared = grid.client.run(["mkdir"]).ok().line();
    grid.client.run(["mkdir", &format!("{shared}/letters")]).ok();
    grid.client
        .run(["put", grid.file("plan", 9, 300).to_str().unwrap(), &format!("{shared}/letters/secret plan")])
        .ok();
    in_browser(&grid, "links.py", json!({ "shared": shared, "file": file }));
}

#[test]
fn folders_show_names_without_tricks_and_let_entries_be_dragged() {
    let grid = Grid::start(10, "3/7/10");
    grid.client.run(["alias", "create", "home"]).ok();
    in_browser(&grid, "folder.py", json!({}));
}

#[test]
fn sound_film_and_pdf_are_previewed_pieces_mapped_and_folders_saved_as_zips() {
    let grid = Grid::start(10, "3/7/10");
    grid.client.run(["alias", "create", "home"]).ok();
    let many = grid.file("many", 10, 17_000_000);
    grid.client.run(["put", "--chunked", many.to_str().unwrap(), "home:many.bin"]).ok();
    in_browser(&grid, "content.py", json!({}));
}
