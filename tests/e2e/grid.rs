//! A grid of separate processes below a temporary folder. All of them are gone when it is dropped.

use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::ports;

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_sarsen");
/// Longer than anything here takes on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(60);

/// A command of the program, without what the environment of the tests would tell it.
pub(crate) fn sarsen() -> Command {
    let mut command = Command::new(PROGRAM);
    let ours = ["SARSEN_DIR", "SARSEN_CAP", "SARSEN_LOG", "SARSEN_PASSPHRASE"];
    for name in ours.iter().chain(&["RUST_LOG", "RUST_BACKTRACE", "XDG_DATA_HOME"]) {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}

/// What a command did.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: Vec<u8>,
    pub(crate) err: String,
}

/// Runs a command to its end.
pub(crate) fn run(command: &mut Command) -> Ran {
    let done = command.output().unwrap();
    Ran { code: done.status.code(), out: done.stdout, err: String::from_utf8(done.stderr).unwrap() }
}

impl Ran {
    /// It succeeded.
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "{}", self.err);
        self
    }

    /// It failed with this exit code, said these words on stderr, and nothing on stdout.
    #[track_caller]
    pub(crate) fn fails(self, code: i32, words: &[&str]) -> Self {
        assert_eq!(self.code, Some(code), "{}{}", self.text(), self.err);
        assert!(self.out.is_empty(), "stdout of a failure: {}", self.text());
        for word in words {
            assert!(self.err.contains(word), "no {word:?} in: {}", self.err);
        }
        assert!(!self.err.contains("panicked"), "{}", self.err);
        self
    }

    /// Standard output, as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.out).into_owned()
    }

    /// The one line on standard output.
    #[track_caller]
    pub(crate) fn line(&self) -> String {
        let text = self.text();
        assert!(text.ends_with('\n') && text.matches('\n').count() == 1, "not one line: {text:?}");
        text.trim_end().to_owned()
    }

    /// Standard output, as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.out).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }
}

/// Sends a signal to a child.
pub(crate) fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

/// Waits for a child, but not for ever.
#[track_caller]
pub(crate) fn ended(child: &mut Child) -> ExitStatus {
    let mut status = None;
    eventually("the process ends", || {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    status.unwrap()
}

/// Waits until something is so.
#[track_caller]
pub(crate) fn eventually(what: &str, mut so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !so() {
        assert!(begun.elapsed() < PATIENCE, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Bytes that do not compress and are the same for the same seed.
pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// Says on the terminal, past the capture of the test harness, that a test did less than its name says.
pub(crate) fn note(text: &str) {
    use std::io::Write;
    // The harness swallows what `eprintln!` says in a test that passes.
    let mut terminal = std::io::stderr();
    writeln!(terminal, "note: {text}").unwrap();
}

/// A process that runs until it is stopped: an introducer or a server.
pub(crate) struct Daemon {
    pub(crate) dir: PathBuf,
    log: PathBuf,
    verb: &'static str,
    program: PathBuf,
    user: Option<u32>,
    talkative: bool,
    child: Option<Child>,
}

impl Daemon {
    fn new(verb: &'static str, dir: PathBuf) -> Self {
        let log = dir.with_extension("log");
        Self { dir, log, verb, program: PROGRAM.into(), user: None, talkative: false, child: None }
    }

    /// The server in a directory that was made by other means.
    pub(crate) fn of_server(dir: PathBuf) -> Self {
        Self::new("server", dir)
    }

    /// Runs under another user from the next start on, and from a copy of the program which that user can reach.
    pub(crate) fn become_user(&mut self, user: u32, program: &Path) {
        self.user = Some(user);
        self.program = program.to_owned();
    }

    /// The command that runs it.
    pub(crate) fn command(&self) -> Command {
        let mut command = sarsen();
        let mut other = Command::new(&self.program);
        other.env_clear();
        if let Some(user) = self.user {
            command = other;
            command.stdin(Stdio::null()).uid(user).gid(user).current_dir("/");
        }
        if self.talkative {
            command.arg("-vv");
        }
        command.args([self.verb, "run"]).arg(&self.dir);
        command
    }

    /// Starts it and waits until it listens.
    #[track_caller]
    pub(crate) fn start(&mut self) {
        assert!(self.child.is_none());
        let begun = Instant::now();
        loop {
            let from = self.log().len();
            let log = OpenOptions::new().create(true).append(true).open(&self.log).unwrap();
            let mut child = self.command().stdout(Stdio::null()).stderr(log).spawn().unwrap();
            let mut died = false;
            let dir = self.dir.clone();
            eventually(&format!("{} listens", dir.display()), || {
                died = child.try_wait().unwrap().is_some();
                died || self.log()[from..].contains(" listens")
            });
            if !died {
                self.child = Some(child);
                return;
            }
            // A port that was not taken from `ports` may have become some client's: that one ends soon.
            let said = self.log()[from..].to_owned();
            assert!(said.contains("cannot listen") && begun.elapsed() < PATIENCE, "{said}");
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Starts it with a log of everything.
    #[track_caller]
    pub(crate) fn start_talkative(&mut self) {
        self.talkative = true;
        self.start();
    }

    /// Ends it as a power cut would.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// The number of its process.
    #[track_caller]
    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// Asks it to end with SIGTERM, and leaves it to [`Daemon::stopped`].
    pub(crate) fn terminate(&self) {
        signal(self.child.as_ref().unwrap(), Signal::TERM);
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn stopped(&mut self) -> ExitStatus {
        ended(&mut self.child.take().unwrap())
    }

    /// Ends it with SIGTERM: it exits with 0.
    #[track_caller]
    pub(crate) fn stop(&mut self) {
        self.terminate();
        assert_eq!(self.stopped().code(), Some(0), "{}", self.log());
    }

    /// Restarts it: what was changed in its directory takes effect.
    #[track_caller]
    pub(crate) fn restart(&mut self) {
        self.stop();
        self.start();
    }

    /// All it logged so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Its storage directory, where it has the one that `init` makes.
    pub(crate) fn storage(&self) -> PathBuf {
        self.dir.join("storage")
    }

    /// Replaces text in its configuration.
    #[track_caller]
    pub(crate) fn configure(&self, from: &str, to: &str) {
        let path = self.dir.join(if self.verb == "server" { "server.toml" } else { "introducer.toml" });
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "no {from:?} in {text}");
        fs::write(&path, text.replace(from, to)).unwrap();
    }

    /// The address in its configuration.
    pub(crate) fn listen(&self) -> String {
        let path = self.dir.join(if self.verb == "server" { "server.toml" } else { "introducer.toml" });
        let text = fs::read_to_string(path).unwrap();
        let line = text.lines().find(|line| line.starts_with("listen")).unwrap();
        line.split('"').nth(1).unwrap().to_owned()
    }

    /// The files of shares that have one of their own, in no order.
    pub(crate) fn share_files(&self) -> Vec<PathBuf> {
        share_files(&self.storage())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The files of shares that have one of their own in this storage directory.
pub(crate) fn share_files(storage: &Path) -> Vec<PathBuf> {
    let list = |dir: &Path| -> Vec<PathBuf> {
        fs::read_dir(dir).into_iter().flatten().map(|entry| entry.unwrap().path()).collect()
    };
    list(&storage.join("shares")).iter().flat_map(|dir| list(dir)).collect()
}

/// A client's directory.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) dir: PathBuf,
}

impl Client {
    /// Makes one.
    #[track_caller]
    pub(crate) fn new(dir: PathBuf, introducers: &[String], shares: &str) -> Self {
        let mut command = sarsen();
        command.args(["init", "--shares", shares]).env("SARSEN_DIR", &dir);
        for url in introducers {
            command.args(["--introducer", url]);
        }
        let ran = run(&mut command).ok();
        assert!(ran.out.is_empty() && ran.err.contains(dir.to_str().unwrap()), "{ran:?}");
        Self { dir }
    }

    /// A command of this client.
    pub(crate) fn command(&self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
        let mut command = sarsen();
        command.args(args).env("SARSEN_DIR", &self.dir);
        command
    }

    /// Runs a command of this client to its end.
    pub(crate) fn run(&self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Ran {
        run(&mut self.command(args))
    }

    /// Runs a command that reads `input`.
    pub(crate) fn run_with(&self, args: &[&str], input: &[u8]) -> Ran {
        use std::io::Write;
        let mut command = self.command(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let done = std::thread::scope(|scope| {
            // A command that fails early reads nothing of it.
            scope.spawn(move || drop(stdin.write_all(input)));
            child.wait_with_output().unwrap()
        });
        Ran { code: done.status.code(), out: done.stdout, err: String::from_utf8(done.stderr).unwrap() }
    }

    /// Stores a file; its cap.
    #[track_caller]
    pub(crate) fn put(&self, file: &Path) -> String {
        self.run(["put".as_ref(), file.as_os_str()]).ok().line()
    }

    /// Stores a file; what `--json` says.
    #[track_caller]
    pub(crate) fn put_json(&self, file: &Path) -> Value {
        self.run(["put".as_ref(), file.as_os_str(), "--json".as_ref()]).ok().json()
    }

    /// Fetches a file.
    #[track_caller]
    pub(crate) fn get(&self, cap: &str) -> Vec<u8> {
        self.run(["get", cap]).ok().out
    }

    /// What `status --json` says.
    #[track_caller]
    pub(crate) fn status(&self) -> Value {
        let ran = self.run(["status", "--json"]);
        let status = ran.json();
        let any = status["servers"].as_array().unwrap().iter().any(|server| server["connected"] == true);
        assert_eq!(ran.code, Some(if any { 0 } else { 5 }), "{}", ran.err);
        status
    }

    /// What `status --json` says of the server with this nickname.
    #[track_caller]
    pub(crate) fn status_of(&self, nickname: &str) -> Value {
        let status = self.status();
        let servers = status["servers"].as_array().unwrap();
        servers.iter().find(|server| server["nickname"] == nickname).unwrap().clone()
    }

    /// How many servers answer.
    #[track_caller]
    pub(crate) fn connected(&self) -> usize {
        let status = self.status();
        status["servers"].as_array().unwrap().iter().filter(|server| server["connected"] == true).count()
    }
}

/// The grid.
pub(crate) struct Grid {
    pub(crate) introducer: Daemon,
    pub(crate) servers: Vec<Daemon>,
    pub(crate) client: Client,
    folder: TempDir,
}

impl Grid {
    /// Starts an introducer and `count` servers, called `server0` and so on, and waits until the client reaches all.
    #[track_caller]
    pub(crate) fn start(count: usize, shares: &str) -> Self {
        let mut grid = Self::prepare(count, shares);
        grid.servers.iter_mut().for_each(Daemon::start);
        let client = grid.client.clone();
        eventually("all servers are connected", || client.connected() == count);
        grid
    }

    /// As [`Grid::start`], with the servers not started.
    #[track_caller]
    pub(crate) fn prepare(count: usize, shares: &str) -> Self {
        let folder = scratch();
        let at = |name: &str| folder.path().join(name);
        let introducer = start_introducer(at("introducer"));
        let url = url(&introducer);
        let client = Client::new(at("client"), std::slice::from_ref(&url), shares);
        let inits: Vec<Child> = (0..count)
            .map(|number| {
                let mut command = sarsen();
                command.args(["server", "init", "--listen", &ports::free(), "--introducer", &url]);
                command.args(["--nickname", &format!("server{number}")]).arg(at(&format!("server{number}")));
                command.stderr(Stdio::null()).spawn().unwrap()
            })
            .collect();
        inits.into_iter().for_each(|mut init| assert!(init.wait().unwrap().success()));
        let servers =
            (0..count).map(|number| Daemon::new("server", at(&format!("server{number}")))).collect();
        Self { introducer, servers, client, folder }
    }

    /// The grid of ten servers that tests share while any of them runs; they do not change its servers.
    pub(crate) fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Grid>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let grid = Arc::new(Self::start(10, "3/7/10"));
            *shared = Arc::downgrade(&grid);
            grid
        })
    }

    /// A path of this grid's folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The grid's folder, which only its owner can enter.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file of noise.
    pub(crate) fn file(&self, name: &str, seed: u64, len: usize) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, noise(seed, len)).unwrap();
        path
    }

    /// Another client, with an account of its own.
    #[track_caller]
    pub(crate) fn another_client(&self, name: &str, shares: &str) -> Client {
        Client::new(self.path(name), &[url(&self.introducer)], shares)
    }

    /// Everything that the nodes of this grid logged.
    pub(crate) fn logs(&self) -> String {
        self.servers.iter().chain([&self.introducer]).map(Daemon::log).collect()
    }
}

/// A new folder: in memory where there is plenty of it, since ten servers that sync share whatever disk this machine has; else, or
/// with `SARSEN_ON_DISK=1`, where temporary files go.
pub(crate) fn scratch() -> TempDir {
    let mut builder = tempfile::Builder::new();
    builder.prefix("sarsen-e2e-");
    let memory = Path::new("/dev/shm");
    let room = rustix::fs::statvfs(memory).map_or(0, |stat| stat.f_bavail * stat.f_frsize);
    let on_disk = std::env::var_os("SARSEN_ON_DISK").is_some_and(|value| value == "1");
    match room > 6 << 30 && !on_disk {
        true => builder.tempdir_in(memory).unwrap(),
        false => builder.tempdir().unwrap(),
    }
}

/// Makes and starts an introducer.
#[track_caller]
pub(crate) fn start_introducer(dir: PathBuf) -> Daemon {
    run(sarsen().args(["introducer", "init", "--listen", &ports::free()]).arg(&dir)).ok();
    let mut introducer = Daemon::new("introducer", dir);
    introducer.start();
    introducer
}

/// An introducer's address.
pub(crate) fn url(introducer: &Daemon) -> String {
    fs::read_to_string(introducer.dir.join("introducer.url")).unwrap().trim().to_owned()
}
