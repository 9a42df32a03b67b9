//! The house plan: which crate may lean on which, what the pure ones keep away from, and that no file stands unused.

use super::Report;
use super::source::SourceFile;

/// Every crate and the crates of the workspace that it may depend on (ARCHITECTURE.md draws them). A new edge is a decision that wants
/// a note under `docs/design`. Tests may lean on anything.
const LAYERS: [(&str, &[&str]); 11] = [
    ("caps", &[]),
    ("encoding", &["caps"]),
    ("protocol", &[]),
    ("storage-server", &["caps", "encoding", "protocol"]),
    ("introducer", &["protocol"]),
    ("client", &["caps", "encoding", "protocol"]),
    ("gateway", &["caps", "client", "encoding", "protocol"]),
    ("fuse", &["caps", "client", "encoding", "protocol"]),
    ("testkit", &["caps", "client", "encoding", "introducer", "protocol", "storage-server"]),
    (
        "sarsen",
        &["caps", "client", "encoding", "fuse", "gateway", "introducer", "protocol", "storage-server"],
    ),
    ("xtask", &[]),
];

/// Crates that do no I/O and read no clock and no global randomness.
const PURE: [&str; 2] = ["caps", "encoding"];
/// What they keep away from, in the standard library and elsewhere.
const IMPURE_STD: [&str; 6] = ["env", "fs", "net", "process", "thread", "time"];
const IMPURE_CRATES: [&str; 5] = ["getrandom", "quinn", "rand", "socket2", "tokio"];
/// Only these turn errors into text early.
const ANYHOW: [&str; 2] = ["sarsen", "xtask"];
/// The most packages that `Cargo.lock` may name. It is raised by a commit that says why.
const MAX_PACKAGES: usize = 400;
/// Folders in which every file is the root of a program.
const ROOT_FOLDERS: [&str; 5] = ["tests", "benches", "examples", "bin", "targets"];

/// A `Cargo.toml` with a package in it.
struct Manifest {
    name: String,
    /// The crate's folder with `/` behind it; empty for the root.
    folder: String,
    /// All but what only tests use.
    dependencies: Vec<String>,
}

/// Checks all crates of the workspace.
pub(super) fn check(files: &[SourceFile], report: &mut Report) {
    let crates: Vec<Manifest> = files.iter().filter_map(manifest).collect();
    for one in &crates {
        check_layers(one, &crates, report);
        check_documentation(one, files, report);
        if PURE.contains(&one.name.as_str()) {
            check_purity(one, files, report);
        }
    }
    check_unused(files, report);
    let packages = files.iter().find(|file| file.path == "Cargo.lock");
    let packages = packages.map_or(0, |lock| lock.text.matches("[[package]]").count());
    if packages > MAX_PACKAGES {
        report.error(format!("Cargo.lock: {packages} packages, the most is {MAX_PACKAGES}"));
    }
}

fn manifest(file: &SourceFile) -> Option<Manifest> {
    let folder = file.path.strip_suffix("Cargo.toml").filter(|folder| *folder != "fuzz/")?;
    let (mut section, mut name, mut dependencies) = ("", None, Vec::new());
    for line in file.text.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
        if let Some(header) = line.strip_prefix('[') {
            section = header.trim_end_matches(']');
            // `[dependencies.name]` is the long form of a line.
            if let Some((before, own)) = section.split_once("dependencies.")
                && before != "dev-"
            {
                dependencies.push(own.to_owned());
            }
        } else if let Some((key, value)) = line.split_once('=') {
            let key = key.trim().split('.').next().unwrap_or_default().trim_matches('"');
            match section {
                "package" if key == "name" => name = Some(value.trim().trim_matches('"').to_owned()),
                "workspace.dependencies" => {}
                _ if section.ends_with("dependencies") && !section.ends_with("dev-dependencies") => {
                    dependencies.push(key.to_owned());
                }
                _ => {}
            }
        }
    }
    Some(Manifest { name: name?, folder: folder.to_owned(), dependencies })
}

fn check_layers(one: &Manifest, crates: &[Manifest], report: &mut Report) {
    let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == one.name) else {
        report.error(format!("{}Cargo.toml: crate {} has no place in xtask's LAYERS", one.folder, one.name));
        return;
    };
    for dependency in &one.dependencies {
        let ours = crates.iter().any(|other| other.name == *dependency);
        if ours && !allowed.contains(&dependency.as_str()) {
            report.error(format!("{}Cargo.toml: {} may not depend on {dependency}", one.folder, one.name));
        }
        if dependency == "anyhow" && !ANYHOW.contains(&one.name.as_str()) {
            report.error(format!(
                "{}Cargo.toml: errors of {} are typed; anyhow is for src/",
                one.folder, one.name
            ));
        }
    }
}

fn check_documentation(one: &Manifest, files: &[SourceFile], report: &mut Report) {
    let roots = ["src/lib.rs", "src/main.rs"].map(|name| format!("{}{name}", one.folder));
    for root in files.iter().filter(|file| roots.contains(&file.path)) {
        if !root.text.trim_start().starts_with("//!") {
            report.error(format!("{}: says nothing of what the crate is for (`//!`)", root.path));
        }
    }
}

fn check_purity(one: &Manifest, files: &[SourceFile], report: &mut Report) {
    for name in one.dependencies.iter().filter(|name| IMPURE_CRATES.contains(&name.as_str())) {
        report.error(format!("{}Cargo.toml: {} is pure and may not depend on {name}", one.folder, one.name));
    }
    let source = format!("{}src/", one.folder);
    for file in files.iter().filter(|file| file.path.starts_with(&source)) {
        for name in impure_names(file.program()) {
            report.error(format!("{}: {} is pure and may not use std::{name}", file.path, one.name));
        }
    }
}

/// The impure modules of the standard library that the code names, also in grouped imports.
fn impure_names(code: &str) -> Vec<&'static str> {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let names = code.match_indices("std::").flat_map(|(at, begin)| {
        let rest = &code[at + begin.len()..];
        let reach = if rest.starts_with('{') { rest.find(';') } else { rest.find(|c| !is_name(c)) };
        let path = &rest[..reach.unwrap_or(rest.len())];
        path.split(|c| !is_name(c)).filter_map(|name| IMPURE_STD.into_iter().find(|impure| *impure == name))
    });
    names.collect()
}

/// Every file is a crate's root or a module that some other file of its crate declares.
fn check_unused(files: &[SourceFile], report: &mut Report) {
    for file in files.iter().filter(|file| file.path.ends_with(".rs")) {
        let mut parts = file.path.rsplit('/');
        let stem = parts.next().unwrap_or_default().trim_end_matches(".rs");
        let folder = parts.next().unwrap_or_default();
        let is_root = ["lib", "main", "build"].contains(&stem) || ROOT_FOLDERS.contains(&folder);
        let declaration = format!("mod {};", if stem == "mod" { folder } else { stem });
        let path = format!("{folder}/{stem}.rs\""); // as in #[path = "..."]
        let declares = |other: &SourceFile| {
            crate_folder(&other.path) == crate_folder(&file.path)
                && (other.code.contains(&declaration) || other.text.contains(&path))
        };
        if !is_root && !files.iter().any(declares) {
            report.error(format!("{}: no file declares it (`{declaration}`)", file.path));
        }
    }
}

/// The folder of the crate that a file belongs to, with `/` behind it; empty for the root.
fn crate_folder(path: &str) -> &str {
    let end = ["src/", "tests/"].iter().filter_map(|inner| path.find(inner)).min();
    &path[..end.unwrap_or(0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(files: &[(&str, &str)]) -> Vec<String> {
        let mut report = Report::default();
        let file = |(path, text): &(&str, &str)| SourceFile::new((*path).into(), (*text).into());
        check(&files.iter().map(file).collect::<Vec<_>>(), &mut report);
        report.errors
    }

    const CAPS: (&str, &str) = ("caps/Cargo.toml", "[package]\nname = \"caps\"\n");
    const CLIENT: (&str, &str) = (
        "client/Cargo.toml",
        "[package]\nname = \"client\"\n[dependencies]\ncaps.workspace = true\n[dev-dependencies]\ntestkit.workspace = true\n",
    );

    #[test]
    fn arrows_point_down() {
        let testkit = ("testkit/Cargo.toml", "[package]\nname = \"testkit\"\n[dependencies]\nclient = {}\n");
        assert_eq!(errors(&[CAPS, CLIENT, testkit]), [""; 0]);
        let up = ("caps/Cargo.toml", "[package]\nname = \"caps\"\n[dependencies]\nclient.workspace = true\n");
        assert_eq!(errors(&[up, CLIENT]), ["caps/Cargo.toml: caps may not depend on client"]);
        let long =
            ("caps/Cargo.toml", "[package]\nname = \"caps\"\n[target.'cfg(unix)'.dependencies.client]\n");
        assert_eq!(errors(&[long, CLIENT]), ["caps/Cargo.toml: caps may not depend on client"]);
        let new = ("attic/Cargo.toml", "[package]\nname = \"attic\"\n");
        assert_eq!(errors(&[new]), ["attic/Cargo.toml: crate attic has no place in xtask's LAYERS"]);
    }

    #[test]
    fn pure_crates_stay_pure() {
        let pure = |code: &str| errors(&[CAPS, ("caps/src/lib.rs", &format!("//! Caps.\n{code}"))]);
        assert_eq!(pure("use std::io;\n#[cfg(test)]\nmod tests { use std::fs; }\n"), [""; 0]);
        assert_eq!(pure("use std::fs;\n"), ["caps/src/lib.rs: caps is pure and may not use std::fs"]);
        assert_eq!(pure("use std::{fmt, time::Instant};\n").len(), 1);
        let clock = ("caps/Cargo.toml", "[package]\nname = \"caps\"\n[dependencies]\ntokio = \"1\"\n");
        assert_eq!(errors(&[clock]), ["caps/Cargo.toml: caps is pure and may not depend on tokio"]);
    }

    #[test]
    fn crates_are_documented_and_files_used() {
        assert_eq!(errors(&[CAPS, ("caps/src/lib.rs", "mod keys;\n")]).len(), 1);
        let (root, keys) =
            (("caps/src/lib.rs", "//! Caps.\nmod keys;\n"), ("caps/src/keys.rs", "//! Keys.\n"));
        assert_eq!(errors(&[CAPS, root, keys]), [""; 0]);
        let lost = ("caps/src/lost.rs", "//! Lost.\n");
        assert_eq!(
            errors(&[CAPS, root, keys, lost]),
            ["caps/src/lost.rs: no file declares it (`mod lost;`)"]
        );
        let by_path = ("caps/tests/all.rs", "#[path = \"src/lost.rs\"]\nmod other;\n");
        assert_eq!(errors(&[CAPS, root, keys, lost, by_path]), [""; 0]);
        let elsewhere = ("client/src/lib.rs", "//! Client.\nmod lost;\n");
        assert_eq!(errors(&[CAPS, root, keys, lost, CLIENT, elsewhere]).len(), 1);
    }

    #[test]
    fn the_lock_file_is_bounded() {
        let lock = "[[package]]\n".repeat(MAX_PACKAGES + 1);
        assert_eq!(errors(&[("Cargo.lock", &lock)]), ["Cargo.lock: 401 packages, the most is 400"]);
    }
}
