//! Capabilities and bare share files, with no server in sight.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::grid::{Client, Grid, noise, run, sarsen};

const H: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbba";
const KEY: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaa";

#[test]
fn cap_show_knows_every_kind() {
    let traversal = "c".repeat(51) + "a";
    let repair = |kind: &str| format!("URI:SARSEN-REPAIR:{traversal}:{H}:77:{kind}");
    // Cap, kind, authority, whether of a directory, whether mutable, what follows from it.
    type Case = (String, &'static str, &'static str, bool, bool, &'static [&'static str]);
    let cases: [Case; 19] = [
        ("URI:LIT:nbswy3dp".into(), "LIT", "read", false, false, &[]),
        ("URI:DIR2-LIT:".into(), "DIR2-LIT", "read", true, false, &[]),
        (format!("URI:CHK:{KEY}:{H}:3:10:1234"), "CHK", "read", false, false, &["verify"]),
        (format!("URI:DIR2-CHK:{KEY}:{H}:3:10:1234"), "DIR2-CHK", "read", true, false, &["verify"]),
        (format!("URI:CHK-Verifier:{KEY}:{H}:3:10:1234"), "CHK-Verifier", "verify", false, false, &[]),
        (
            format!("URI:DIR2-CHK-Verifier:{KEY}:{H}:3:10:1234"),
            "DIR2-CHK-Verifier",
            "verify",
            true,
            false,
            &[],
        ),
        (format!("URI:SSK:{KEY}:{H}"), "SSK", "write", false, true, &["read", "verify"]),
        (format!("URI:MDMF:{KEY}:{H}"), "SSK", "write", false, true, &["read", "verify"]),
        (format!("URI:SSK-RO:{KEY}:{H}"), "SSK-RO", "read", false, true, &["verify"]),
        (format!("ro.URI:SSK-RO:{KEY}:{H}"), "SSK-RO", "read", false, true, &["verify"]),
        (format!("URI:SSK-Verifier:{KEY}:{H}"), "SSK-Verifier", "verify", false, true, &[]),
        (format!("URI:DIR2:{KEY}:{H}"), "DIR2", "write", true, true, &["read", "verify"]),
        (format!("URI:DIR2-RO:{KEY}:{H}"), "DIR2-RO", "read", true, true, &["verify"]),
        (format!("URI:DIR2-Verifier:{KEY}:{H}"), "DIR2-Verifier", "verify", true, true, &[]),
        (repair("CHK:3:10:1234"), "SARSEN-REPAIR", "repair", false, false, &[]),
        (repair("DIR2-CHK:3:10:1234"), "SARSEN-REPAIR", "repair", true, false, &[]),
        (repair("SSK"), "SARSEN-REPAIR", "repair", false, true, &[]),
        (repair("DIR2"), "SARSEN-REPAIR", "repair", true, true, &[]),
        ("URI:FROM-THE-FUTURE:x".into(), "unknown", "none", false, false, &[]),
    ];
    for (cap, kind, authority, directory, mutable, weaker) in cases {
        let json = run(sarsen().args(["cap", "show", &cap, "--json"])).ok().json();
        assert_eq!((&json["kind"], &json["authority"]), (&kind.into(), &authority.into()), "{cap}");
        assert_eq!((&json["directory"], &json["mutable"]), (&directory.into(), &mutable.into()), "{cap}");
        let names: Vec<&String> = json["weaker"].as_object().unwrap().keys().collect();
        // A verify cap follows from a repair cap where the kind allows it; the tests of `caps` say which.
        if kind != "SARSEN-REPAIR" {
            assert_eq!(names, weaker, "{cap}");
        }
        if cap.ends_with(":1234") {
            assert_eq!(
                (&json["needed"], &json["total"], &json["size"]),
                (&3.into(), &10.into(), &1234.into())
            );
        }
        let text = run(sarsen().args(["cap", "show", &cap])).ok().text();
        assert!(text.starts_with(&format!("kind:       {kind}, ")), "{text}");
        assert!(text.contains(&format!("authority:  {authority}: ")), "{text}");
        for (name, weaker) in json["weaker"].as_object().unwrap() {
            let weaker = weaker.as_str().unwrap();
            assert!(text.contains(weaker), "{text}");
            let shown = run(sarsen().args(["cap", "show", weaker, "--json"])).ok().json();
            assert_eq!(shown["authority"], **name, "{weaker}");
        }
    }
}

/// Stores a file and collects its bare share files by number: share `n` is on the server that `put` named for it.
fn collect(grid: &Grid, client: &Client, name: &str, seed: u64, len: usize) -> (String, Vec<PathBuf>) {
    let json = client.put_json(&grid.file(name, seed, len));
    let cap = json["cap"].as_str().unwrap();
    let hash = cap.split(':').nth(3).unwrap();
    let folder = grid.path(&format!("{name}-shares"));
    fs::create_dir(&folder).unwrap();
    let shares = json["shares"].as_array().unwrap().iter().map(|share| {
        let (server, number) = (share["nickname"].as_str().unwrap(), &share["number"]);
        let server: usize = server.trim_start_matches("server").parse().unwrap();
        let file = grid.servers[server].storage().join(format!("shares/{}/{hash}.{number}", &hash[..2]));
        let copy = folder.join(number.to_string());
        fs::copy(&file, &copy).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        copy
    });
    (cap.to_owned(), shares.collect())
}

fn assemble(cap: &str, shares: &[&PathBuf], out: &Path) -> std::process::Command {
    let mut command = sarsen();
    command.args(["share", "assemble", cap]).args(shares).arg("-o").arg(out);
    command
}

#[test]
fn share_files_speak_for_themselves() {
    let grid = Grid::shared();
    let (cap, shares) = collect(&grid, &grid.client, "speak", 70, 2_000_000);
    let hash = cap.split(':').nth(3).unwrap();
    for (number, share) in shares.iter().enumerate() {
        let show = || grid.client.command(["share".as_ref(), "show".as_ref(), share.as_os_str()]);
        let json = run(show().arg("--json")).ok().json();
        assert_eq!((&json["intact"], &json["number"]), (&true.into(), &number.into()));
        assert_eq!((&json["hash"], &json["needed"], &json["total"]), (&hash.into(), &3.into(), &10.into()));
        let text = run(&mut show()).ok().text();
        assert!(text.contains(&format!("share:       {number} of 10")) && text.contains(hash), "{text}");
        assert!(text.contains("intact:      yes"), "{text}");
    }
}

#[test]
fn a_file_is_assembled_from_any_k_shares() {
    let grid = Grid::shared();
    let data = noise(71, 2_000_001);
    let (cap, shares) = collect(&grid, &grid.client, "assemble", 71, data.len());
    let (foreign_cap, foreign) = collect(&grid, &grid.client, "foreign", 72, 2_000_001);
    let out = grid.path("assembled");
    for chosen in [[0, 1, 2], [9, 8, 7], [2, 5, 9]] {
        let chosen = chosen.map(|number| &shares[number]);
        let ran = run(&mut assemble(&cap, &chosen, &out)).ok();
        assert!(ran.out.is_empty() && fs::read(&out).unwrap() == data);
        assert!(run(&mut assemble(&cap, &chosen, "-".as_ref())).ok().out == data);
    }
    let link = grid.path("assembled-link");
    std::os::unix::fs::symlink(&out, &link).unwrap();
    fs::remove_file(&out).unwrap();
    run(&mut assemble(&cap, &[&shares[1], &shares[4], &shares[9]], &link)).ok();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink() && fs::read(&out).unwrap() == data);
    // Damaged and foreign ones are passed over, whatever their order.
    let damaged = grid.path("assemble-damaged");
    let mut bytes = fs::read(&shares[1]).unwrap();
    bytes[1000] ^= 1;
    fs::write(&damaged, bytes).unwrap();
    let mixed = [&damaged, &foreign[0], &shares[3], &shares[3], &shares[4], &foreign[4], &shares[6]];
    run(&mut assemble(&cap, &mixed, &out)).ok();
    assert!(fs::read(&out).unwrap() == data);
    // Too few, and none at all.
    fs::remove_file(&out).unwrap();
    run(&mut assemble(&cap, &[&damaged, &shares[3], &shares[3], &shares[4]], &out)).fails(8, &["hint:"]);
    run(&mut assemble(&cap, &foreign.iter().collect::<Vec<_>>(), &out)).fails(8, &[]);
    assert!(!out.exists(), "nothing is left of a failure");
    // The wrong key for the right object.
    let key = |cap: &str| cap.split(':').nth(2).unwrap().to_owned();
    let forged = cap.replace(&key(&cap), &key(&foreign_cap));
    run(&mut assemble(&forged, &shares.iter().collect::<Vec<_>>(), &out)).fails(6, &["hint:"]);
    assert!(!out.exists());
    let leftovers = fs::read_dir(grid.folder()).unwrap().map(|entry| entry.unwrap().file_name());
    let leftovers: Vec<_> =
        leftovers.filter(|name| name.to_str().unwrap().starts_with(".assembled")).collect();
    assert!(leftovers.is_empty(), "{leftovers:?}");
}

#[test]
fn another_program_recovers_files_from_bare_shares() {
    let recover = Path::new(env!("CARGO_MANIFEST_DIR")).join("misc/recover.py");
    let python = python();
    let grid = Grid::shared();
    let wide = grid.another_client("wide", "3/7/20");
    for (name, seed, len, client) in [
        ("python", 73, 2_000_001, &grid.client),
        ("python-exact", 74, 3 * 786_432, &grid.client),
        ("python-wide", 75, 900_000, &wide),
    ] {
        let (cap, shares) = collect(&grid, client, name, seed, len);
        let cap_file = grid.path("python.cap");
        fs::write(&cap_file, &cap).unwrap();
        for chosen in [[0, 1, 2], [9, 0, 5], [7, 9, 8]] {
            let out = grid.path("recovered");
            let mut command = Command::new(&python);
            command.arg(&recover).arg(format!("@{}", cap_file.display()));
            command.args(chosen.map(|number| &shares[number])).arg("-o").arg(&out);
            run(&mut command).ok();
            assert!(fs::read(&out).unwrap() == noise(seed, len), "{name} {chosen:?}");
        }
    }
}

/// The Python that `cargo xtask test` names, or one that has what the program needs.
fn python() -> PathBuf {
    if let Some(python) = std::env::var_os("SARSEN_PYTHON") {
        return python.into();
    }
    let has = |python: &str| {
        let done = Command::new(python).args(["-c", "import blake3, cryptography"]).output();
        done.is_ok_and(|done| done.status.success())
    };
    assert!(
        has("python3"),
        "python3 lacks blake3 or cryptography: run the tests by `cargo xtask test`, or set SARSEN_PYTHON to a python that has them"
    );
    "python3".into()
}
