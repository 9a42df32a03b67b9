//! A grid with an owner: everybody joins by a code, strangers are refused by name, and whoever is let go stays out.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use tempfile::TempDir;

use crate::grid::{
    Client, Daemon, Ran, ended, eventually, noise, run, sarsen, scratch, start_introducer, url,
};

/// The owner, the introducer, and a folder for everybody else.
struct Owned {
    owner: Client,
    introducer: Daemon,
    folder: TempDir,
}

/// An invitation that waits.
struct Invitation {
    waiting: Child,
    code: String,
}

impl Owned {
    fn start(shares: &str) -> Self {
        let folder = scratch();
        let introducer = start_introducer(folder.path().join("introducer"));
        let owner = Client { dir: folder.path().join("owner") };
        let made = owner.run(["grid", "init", "--shares", shares, "--introducer", &url(&introducer)]).ok();
        assert_eq!(made.line().len(), 52, "the owner's key");
        Self { owner, introducer, folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn invite(&self, args: &[&str]) -> Invitation {
        let mut command = self.owner.command(["grid", "invite"].iter().chain(args));
        let mut waiting = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut code = String::new();
        BufReader::new(waiting.stdout.take().unwrap()).read_line(&mut code).unwrap();
        assert!(code.contains('@'), "{code:?}");
        Invitation { waiting, code: code.trim().to_owned() }
    }

    fn server(&self, name: &str, zone: &str) -> Daemon {
        let invitation = self.invite(&["--server", "--zone", zone, "--name", name]);
        let dir = self.path(name);
        let mut command = sarsen();
        command.args(["server", "join", &invitation.code, "--listen", "127.0.0.1:0"]).arg(&dir);
        run(command.arg("--storage").arg(dir.join("storage"))).ok();
        invitation.used();
        let mut server = Daemon::of_server(dir);
        server.start();
        server
    }

    fn client(&self, name: &str) -> Client {
        let invitation = self.invite(&["--name", name]);
        let client = Client { dir: self.path(name) };
        let joined = client.run(["join", &invitation.code]).ok();
        assert!(joined.err.contains(&format!("It is {name} in the grid")), "{}", joined.err);
        invitation.used();
        client
    }
}

impl Invitation {
    fn end(self) -> Ran {
        let mut waiting = self.waiting;
        let status = ended(&mut waiting);
        let mut err = String::new();
        std::io::Read::read_to_string(&mut waiting.stderr.take().unwrap(), &mut err).unwrap();
        Ran { code: status.code(), out: Vec::new(), err }
    }

    fn used(self) {
        let ended = self.end().ok();
        assert!(ended.err.contains("joined, with the key"), "{}", ended.err);
    }

    /// The same place with other words.
    fn wrong(&self) -> String {
        let (code, host) = self.code.split_once('@').unwrap();
        let (rest, last) = code.rsplit_once('-').unwrap();
        format!("{rest}-{}@{host}", if last == "fox" { "owl" } else { "fox" })
    }
}

fn put(client: &Client, file: &Path) -> Ran {
    client.run(["put".as_ref(), file.as_os_str()])
}

#[test]
fn everybody_joins_by_a_code_and_strangers_are_refused_by_name() {
    let mut grid = Owned::start("2/3/4");
    let mut servers: Vec<Daemon> =
        (0..4).map(|number| grid.server(&format!("server{number}"), ["ash", "oak"][number % 2])).collect();
    let alice = grid.client("alice");
    let file = grid.path("file");
    std::fs::write(&file, noise(90, 300_000)).unwrap();
    eventually("all servers count", || {
        let status = alice.status();
        let servers = status["servers"].as_array().unwrap();
        servers.iter().filter(|server| server["connected"] == true && server["counts"] == true).count() == 4
    });
    let status = alice.status();
    assert_eq!(
        (&status["membership"]["valid"], &status["membership"]["name"]),
        (&true.into(), &"alice".into())
    );
    assert_eq!(status["servers"][0]["zone"], "ash", "{status}");
    let text = alice.run(["status"]).ok().text();
    assert!(text.contains("member of the grid of") && text.contains(" as alice, until 20"), "{text}");
    let cap = put(&alice, &file).ok().line();
    alice.run(["mkdir"]).ok();

    // Somebody who knows the introducer and is no member: reads, and stores nothing.
    let stranger = Client::new(grid.path("stranger"), &[url(&grid.introducer)], "2/3/4");
    assert!(stranger.get(&cap) == noise(90, 300_000));
    put(&stranger, &file).fails(6, &["not a member: no certificate", "hint: only members", "sarsen join"]);
    stranger.run(["mkdir"]).fails(6, &["not a member: no certificate"]);

    // The owner admits it by its key, and it picks the certificate up by itself.
    let key = stranger.status()["account"].as_str().unwrap().to_owned();
    grid.owner.run(["grid", "admit", &key, "--name", "bob"]).ok();
    let members = grid.owner.run(["grid", "members", "--json"]).ok().json();
    assert_eq!(members["members"].as_array().unwrap().len(), 6, "{members}");
    let owner = members["owner"].as_str().unwrap();
    let settings = stranger.dir.join("sarsen.toml");
    let text = std::fs::read_to_string(&settings).unwrap();
    std::fs::write(&settings, text.replace("\n[shares]\n", &format!("\nowner = \"{owner}\"\n\n[shares]\n")))
        .unwrap();
    assert_eq!(put(&stranger, &file).ok().line().len(), cap.len());

    // Let go: every server hears of it and says so, also after a restart with no introducer.
    grid.owner.run(["grid", "revoke", "alice"]).ok();
    std::fs::write(&file, noise(91, 300_000)).unwrap();
    eventually("alice is refused", || put(&alice, &file).code == Some(6));
    put(&alice, &file)
        .fails(6, &["not a member: certificate revoked", "hint: the grid's owner let this account go"]);
    assert!(alice.run(["status"]).ok().text().contains("certificate revoked"));
    let renewed = alice.run(["renew", &cap]);
    renewed.fails(6, &["not a member: certificate revoked", "hint: the grid's owner let this account go"]);
    grid.introducer.stop();
    servers.iter_mut().for_each(Daemon::restart);
    put(&alice, &file).fails(6, &["not a member: certificate revoked"]);
    assert!(alice.get(&cap) == noise(90, 300_000), "what is stored is read");
    grid.owner.run(["grid", "renew"]).fails(5, &["no introducer could be told", "grid renew"]);
    grid.introducer.start();
    grid.owner.run(["grid", "renew"]).ok();
    assert!(grid.owner.run(["grid", "members"]).ok().text().contains("revoked"));
    put(&stranger, &file).ok();
}

#[test]
fn a_wrong_code_burns_the_invitation() {
    let grid = Owned::start("1/1/1");
    let invitation = grid.invite(&[]);
    let (wrong, right) = (invitation.wrong(), invitation.code.clone());
    let eve = Client { dir: grid.path("eve") };
    eve.run(["join", &wrong]).fails(6, &["the code is wrong", "hint: a code works once"]);
    invitation.end().fails(6, &["with a wrong code", "hint: the invitation is burned"]);
    eve.run(["join", &right]).fails(6, &["no such invitation", "hint: ask"]);
    assert!(!eve.dir.exists());
    let members = grid.owner.run(["grid", "members"]).ok();
    assert!(members.text().starts_with("owner ") && members.text().lines().count() == 1, "nobody got in");
    assert!(members.err.contains("nobody belongs to it yet"), "{}", members.err);

    // For a server it is of no use to a client, and a word that is in no code costs nothing.
    let invitation = grid.invite(&["--server"]);
    let (_, host) = invitation.code.split_once('@').unwrap();
    eve.run(["join", &format!("7-granite-lichen-oaks@{host}")])
        .fails(2, &["word 3 of the code is in no code"]);
    eve.run(["join", &invitation.code]).fails(6, &["the grid's owner refuses", "server join"]);
    assert_eq!(invitation.end().code, Some(1));
    grid.owner.run(["grid", "invite", "--expires", "1s"]).err.contains("in time").then_some(()).unwrap();
    grid.owner.run(["grid", "revoke", "nobody"]).fails(4, &["nobody is neither the name nor the key"]);
}
