//! The gate: every step that must hold before a commit. CI runs exactly this.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::command::{cargo, command, run as execute, succeeds};
use crate::{python, tidy};

/// What the gate itself needs on the machine besides Rust: program, Debian package, use.
const SYSTEM_TOOLS: [(&str, &str, &str); 8] = [
    ("git", "git", "lists the project's files"),
    ("cc", "gcc", "links, and compiles the C of ring and jemalloc"),
    ("make", "make", "builds jemalloc"),
    (
        "python3",
        "python3 python3-venv",
        "holds Cargo.lock against advisories, and reads shares by the spec alone",
    ),
    ("chromium", "chromium", "shows the web page to its tests"),
    ("chromedriver", "chromium-driver", "drives it"),
    ("fusermount3", "fuse3", "mounts file systems for its tests"),
    ("rsync", "rsync", "copies trees onto a mount"),
];

enum Outcome {
    Held,
    Skipped(&'static str),
}

struct Step {
    name: &'static str,
    what: &'static str,
    run: fn() -> Result<Outcome>,
}

/// Cheap steps first, so that a slip of the pen is known at once.
const STEPS: [Step; 9] = [
    Step { name: "tools", what: "the system packages that the gate needs", run: tools },
    Step { name: "fmt", what: "rustfmt has nothing to change", run: fmt },
    Step { name: "tidy", what: "sizes, words, layers and other rules of the house", run: tidy_up },
    Step { name: "advisories", what: "no locked package has a known vulnerability", run: advisories },
    Step { name: "deny", what: "licences, duplicates and sources (needs cargo-deny)", run: deny },
    Step { name: "clippy", what: "no warnings from rustc or clippy", run: clippy },
    Step { name: "doc", what: "no warnings from rustdoc", run: doc },
    Step { name: "test", what: "all tests, by cargo-nextest where installed", run: test },
    Step { name: "doctest", what: "the examples in the documentation", run: doctest },
];

/// One line per step.
pub(crate) fn describe() -> String {
    STEPS.iter().fold(String::new(), |mut text, step| {
        writeln!(text, "  {:<12} {}", step.name, step.what).expect("writing to a String cannot fail");
        text
    })
}

/// Runs all steps, or only one; a failed step does not keep the others from running. Whether all held.
pub(crate) fn run(only: Option<&str>) -> Result<bool> {
    let steps: Vec<&Step> = STEPS.iter().filter(|step| only.is_none_or(|name| step.name == name)).collect();
    if steps.is_empty() {
        bail!("there is no such step; there are:\n{}", describe());
    }
    let begin = Instant::now();
    let mut rows = Vec::new();
    let mut failed = Vec::new();
    for step in steps {
        eprintln!("== {}: {}", step.name, step.what);
        let start = Instant::now();
        let result = (step.run)();
        rows.push(row(step.name, start.elapsed(), &result));
        if result.is_err() {
            failed.push(step.name);
        }
    }
    eprintln!("\n{}", rows.join("\n"));
    for name in &failed {
        eprintln!("to run the failed step alone: cargo xtask test --only {name}");
    }
    let verdict =
        if failed.is_empty() { "passed".to_owned() } else { format!("FAILED in {}", failed.join(", ")) };
    eprintln!("gate {verdict}, {} steps in {:.1} s", rows.len(), begin.elapsed().as_secs_f64());
    Ok(failed.is_empty())
}

fn row(name: &str, took: Duration, result: &Result<Outcome>) -> String {
    let what = match result {
        Ok(Outcome::Held) => "ok".to_owned(),
        Ok(Outcome::Skipped(why)) => format!("skipped: {why}"),
        Err(error) => format!("FAILED: {error:#}"),
    };
    format!("{name:<12} {:>7.1} s  {what}", took.as_secs_f64())
}

fn tools() -> Result<Outcome> {
    let missing: Vec<String> = SYSTEM_TOOLS
        .iter()
        .filter(|(program, ..)| !succeeds(command(program).arg("--version")))
        .map(|(program, package, why)| format!("{program} ({why}; Debian: {package})"))
        .collect();
    if !missing.is_empty() {
        bail!("missing: {}", missing.join(", "));
    }
    Ok(Outcome::Held)
}

fn fmt() -> Result<Outcome> {
    held(execute(&mut cargo("fmt --all --check")))
}

fn tidy_up() -> Result<Outcome> {
    held(tidy::run())
}

fn advisories() -> Result<Outcome> {
    for lock in ["Cargo.lock", "fuzz/Cargo.lock"] {
        execute(command("python3").args(["misc/advisories", lock]))?;
    }
    Ok(Outcome::Held)
}

fn deny() -> Result<Outcome> {
    if !succeeds(&mut cargo("deny --version")) {
        return Ok(Outcome::Skipped("cargo-deny is not installed"));
    }
    held(execute(&mut cargo("deny --locked check bans licenses sources")))
}

fn clippy() -> Result<Outcome> {
    held(execute(&mut cargo("clippy --workspace --all-targets --locked -- -D warnings")))
}

fn doc() -> Result<Outcome> {
    held(execute(cargo("doc --no-deps --workspace --locked").env("RUSTDOCFLAGS", "-D warnings")))
}

fn has_nextest() -> bool {
    succeeds(&mut cargo("nextest --version"))
}

fn test() -> Result<Outcome> {
    let (python, tahoe) = (python::ensure()?, python::ensure_tahoe()?);
    let how = if has_nextest() {
        "nextest run --workspace --locked --no-fail-fast"
    } else {
        "test --workspace --locked --no-fail-fast"
    };
    held(execute(cargo(how).env(python::VARIABLE, python).env(python::TAHOE_VARIABLE, tahoe)))
}

fn doctest() -> Result<Outcome> {
    if !has_nextest() {
        return Ok(Outcome::Skipped("cargo test ran them in the step before"));
    }
    held(execute(&mut cargo("test --doc --workspace --locked")))
}

fn held(result: Result<()>) -> Result<Outcome> {
    result.map(|()| Outcome::Held)
}
