//! The `sarsen` command: a storage grid that outlives its disks.
//!
//! One file per verb in `cmd/`; `report.rs` turns errors into a message, a hint and an exit code; everything else is in the library
//! crates.

mod caps_from;
mod cli;
mod cmd;
mod files;
mod out;
mod progress;
mod report;
mod sizes;

use std::io::IsTerminal;
use std::process::ExitCode;

use tikv_jemallocator::Jemalloc;
use tracing_subscriber::EnvFilter;

#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    let cli = cli::foreign::parse();
    let level = match cli.verbose {
        // What a mount logs is for its log, and not for the terminal that it runs in.
        0 if cli.command.is_mount() && std::io::stderr().is_terminal() => "error",
        0 if cli.command.is_daemon() && !cli.quiet => "info,quinn=warn,quinn_proto=warn",
        0 => "error",
        1 => "info,quinn=warn,quinn_proto=warn",
        _ => "debug,quinn=info,quinn_proto=info",
    };
    let filter = EnvFilter::try_from_env("SARSEN_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    let colours = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colours).init();
    let mut threads = tokio::runtime::Builder::new_multi_thread();
    if cli.command.is_daemon()
        && !cli.command.is_mount()
        && std::env::var_os("TOKIO_WORKER_THREADS").is_none()
    {
        threads.worker_threads(daemon_threads());
    }
    let runtime = match threads.enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let error = anyhow::Error::new(error).context("the program cannot start its threads");
            return report::print(&error, None);
        }
    };
    let home = cmd::client_dir(cli.dir.clone()).ok();
    let code = match runtime.block_on(cmd::run(cli)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => report::print(&error, home.as_deref()),
    };
    // Blocking reads of a terminal or pipe must not keep the process alive.
    runtime.shutdown_background();
    code
}

/// Threads for a daemon's network: half the processors. Hashing and disks have threads of their own, and workers that wake each other for
/// every small request cost more than they do.
fn daemon_threads() -> usize {
    std::thread::available_parallelism().map_or(1, |count| count.get().div_ceil(2))
}
