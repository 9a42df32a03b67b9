//! libFuzzer on stable Rust: the coverage passes are part of LLVM and only need to be asked for, so neither nightly nor cargo-fuzz.

use std::fs;
use std::path::Path;
use std::process::Output;

use anyhow::{Context, Result, bail};

use crate::command::{cargo, command, output, root, run as execute};

/// What `cargo fuzz` would pass to the compiler.
const RUSTFLAGS: &str = "--cfg fuzzing -Ccodegen-units=1 -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";
/// Bytes of the longest input tried. A share of a small object fits.
const MAX_LEN: u32 = 16 * 1024;

/// Builds the fuzz targets and runs each named one, or all, for so many seconds. Whether nothing was found.
pub(crate) fn run(seconds: u32, wanted: &[&str]) -> Result<bool> {
    let all = targets()?;
    if let Some(unknown) = wanted.iter().find(|name| !all.iter().any(|known| known == *name)) {
        bail!("there is no fuzz target {unknown}; there are {}", all.join(", "));
    }
    let triple = host()?;
    let build_dir = crate::command::target_dir().join("fuzz");
    let mut build = cargo("build --release --locked --manifest-path fuzz/Cargo.toml --bins --target");
    build.arg(&triple).arg("--target-dir").arg(&build_dir).env("RUSTFLAGS", RUSTFLAGS);
    execute(&mut build)?;
    let mut clean = true;
    for name in all.iter().filter(|name| wanted.is_empty() || wanted.contains(&name.as_str())) {
        clean &= run_one(&build_dir.join(&triple).join("release").join(name), name, seconds)?;
    }
    eprintln!("fuzz {}", if clean { "passed" } else { "FAILED" });
    Ok(clean)
}

/// The names of the files in `fuzz/targets`.
fn targets() -> Result<Vec<String>> {
    let entries = fs::read_dir(root().join("fuzz/targets"))?.collect::<std::io::Result<Vec<_>>>()?;
    let stem = |path: &Path| Some(path.file_stem()?.to_str()?.to_owned());
    let mut names: Vec<String> = entries.iter().filter_map(|entry| stem(&entry.path())).collect();
    names.sort();
    Ok(names)
}

fn host() -> Result<String> {
    let about = output(command("rustc").arg("-vV"))?;
    let host = about.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("rustc -vV names no host")
}

fn run_one(program: &Path, name: &str, seconds: u32) -> Result<bool> {
    let (corpus, artifacts) = (format!("fuzz/corpus/{name}"), format!("fuzz/artifacts/{name}/"));
    fs::create_dir_all(root().join(&corpus))?;
    fs::create_dir_all(root().join(&artifacts))?;
    eprintln!("== fuzz {name}: {seconds} s");
    let ran = command(program)
        .arg(&corpus)
        .args([format!("-max_total_time={seconds}"), format!("-max_len={MAX_LEN}")])
        .args(["-rss_limit_mb=2048", "-timeout=10", "-print_final_stats=1"])
        .arg(format!("-artifact_prefix={artifacts}"))
        .env("SARSEN_FUZZ_SEEDS", root().join(&corpus))
        .output()
        .with_context(|| format!("{} does not start", program.display()))?;
    report(name, &ran);
    Ok(ran.status.success())
}

fn report(name: &str, ran: &Output) {
    let log = String::from_utf8_lossy(&ran.stderr);
    let lines: Vec<&str> = log.lines().collect();
    if !ran.status.success() {
        lines[lines.len().saturating_sub(60)..].iter().for_each(|line| eprintln!("{line}"));
        eprintln!("{name}: FAILED ({})", ran.status);
        return;
    }
    let number = |key: &str| {
        let value = lines.iter().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        value.map_or("?", str::trim)
    };
    eprintln!(
        "{name}: ok, {} runs, {} a second, {} new inputs, {} MiB",
        number("stat::number_of_executed_units"),
        number("stat::average_exec_per_sec"),
        number("stat::new_units_added"),
        number("stat::peak_rss_mb"),
    );
}
