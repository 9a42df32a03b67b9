//! The recovery file, which needs no grid.

use std::fs;

use crate::aliases::{WRITE, lonely};
use crate::grid::run;

#[test]
fn a_lost_directory_comes_back() {
    let (folder, client) = lonely();
    client.run(["alias", "add", "photos", WRITE]).ok();
    let (file, secret) = (folder.path().join("recovery.age"), folder.path().join("secret"));
    fs::write(&secret, "correct horse\n").unwrap();
    let export = |verb: &str| {
        let mut command = client.command(["recovery", verb]);
        command.arg(&file).arg("--passphrase-file").arg(&secret);
        run(&mut command)
    };
    let ran = export("export").ok();
    assert!(ran.out.is_empty() && ran.err.starts_with("1 alias, "), "{ran:?}");
    let bytes = fs::read(&file).unwrap();
    assert!(bytes.starts_with(b"age-encryption.org/v1\n-> scrypt "));
    export("export").fails(1, &["is not overwritten"]);
    // It was done once: only what is new is reminded of.
    let ran = client.run(["alias", "add", "more", WRITE]).ok();
    assert!(
        ran.err.contains("note: alias \"more\" is not in your last recovery file; export again"),
        "{}",
        ran.err
    );
    let ran = client.run(["alias", "rename", "photos", "pictures"]).ok();
    assert!(ran.err.contains("aliases \"more\", \"pictures\" are not in your last"), "{}", ran.err);
    let ran = client.run(["-q", "alias", "add", "third", WRITE]).ok();
    assert!(ran.err.is_empty(), "{}", ran.err);
    client.run(["alias", "remove", "more"]).ok();
    client.run(["alias", "remove", "third"]).ok();
    let ran = client.run(["alias", "rename", "pictures", "photos"]).ok();
    assert!(!ran.err.contains("recovery"), "{}", ran.err);
    export("import").fails(1, &["is a client's directory already", "hint: "]);

    let key = fs::read(client.dir.join("private/account.key")).unwrap();
    fs::remove_dir_all(&client.dir).unwrap();
    let mut import = client.command(["recovery", "import"]);
    import.arg(&file).env("SARSEN_PASSPHRASE", "wrong horse");
    run(&mut import).fails(6, &["the passphrase is wrong"]);
    assert!(!client.dir.exists());
    import.env("SARSEN_PASSPHRASE", "correct horse");
    let ran = run(&mut import).ok();
    assert!(ran.err.contains(client.dir.to_str().unwrap()), "{}", ran.err);
    assert_eq!(fs::read(client.dir.join("private/account.key")).unwrap(), key);
    assert_eq!(client.run(["list-aliases"]).ok().text(), format!("photos: {WRITE}\n"));
    assert!(client.run(["status"]).text().starts_with("account "));
}

#[test]
fn what_cannot_be_opened() {
    let (folder, client) = lonely();
    let file = folder.path().join("recovery.age");
    let attempt = |bytes: &[u8], code, words: &[&str]| {
        fs::write(&file, bytes).unwrap();
        let mut import = client.command(["recovery", "import"]);
        let new = folder.path().join("new");
        import.arg(&file).arg("--dir").arg(&new).env("SARSEN_PASSPHRASE", "x");
        run(&mut import).fails(code, words);
        assert!(!new.exists());
    };
    attempt(b"age-encryption.org/v1\n-> scr", 7, &["cut short or damaged"]);
    attempt(b"hello", 2, &["not a recovery file"]);
    fs::remove_file(&file).unwrap();
    // No terminal, no passphrase: no hang.
    let mut export = client.command(["recovery", "export"]);
    run(export.arg(&file)).fails(1, &["--passphrase-file"]);
    run(export.env("SARSEN_PASSPHRASE", "")).fails(2, &["empty"]);
    assert!(!file.exists());
    run(client.command(["recovery", "import", "/nowhere"]).env("SARSEN_PASSPHRASE", "x"))
        .fails(1, &["already"]);
}
