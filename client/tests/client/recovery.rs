//! The recovery file.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use client::recovery::{
    Exported, RecoveryError, Summary, export, exported, import, is_reminder_due, passphrase_from,
};
use client::{Aliases, ClientDir, ConfigError};

use crate::things::{Home, directory};

/// A work factor that takes no time.
const FAST: u8 = 2;
const PASSPHRASE: &str = "correct horse";

fn home() -> (Home, std::path::PathBuf) {
    let home = Home::new();
    Aliases::of(&home.dir).add("photos", &directory(1)).unwrap();
    Aliases::of(&home.dir).add("caf\u{e9}", &directory(2).read().unwrap()).unwrap();
    let file = home.folder.path().join("recovery.age");
    (home, file)
}

fn read(dir: &Path, name: &str) -> Vec<u8> {
    fs::read(dir.join(name)).unwrap()
}

#[test]
fn a_reminder_is_due_once_a_day() {
    let (home, _) = home();
    let day = Duration::from_secs(86_400);
    let now = 20_000 * day;
    let due = |text: &str, at: Duration| is_reminder_due(&home.dir, text, at);
    assert!(due("a", now) && !due("a", now) && !due("a", now + day - Duration::from_secs(1)));
    assert!(due("a", now + day) && !due("a", now + day));
    // What is new is said, and a clock that was wrong keeps nobody silent.
    assert!(due("b\nc", now + day) && !due("b\nc", now + day) && due("b\nc", now));
    fs::write(home.path("private/recovery.reminded"), "rubbish").unwrap();
    assert!(due("a", now) && !due("a", now));
}

#[test]
fn a_client_comes_back() {
    let (home, file) = home();
    let settings = home.path("sarsen.toml");
    let text = fs::read_to_string(&settings).unwrap();
    let pinned = "pinned = [\"aibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaiba\"]";
    fs::write(&settings, text.replace("pinned = []", pinned)).unwrap();
    assert_eq!(exported(&home.dir).unwrap(), Exported::Never);
    let summary = export(&home.dir, &file, PASSPHRASE, FAST).unwrap();
    assert_eq!(summary, Summary { aliases: 2, left_out: vec![] });
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let target = home.folder.path().join("new/client");
    let back = import(&target, &file, PASSPHRASE).unwrap();
    for name in ["private/account.key", "private/convergence"] {
        assert_eq!(read(&target, name), fs::read(home.path(name)).unwrap(), "{name}");
        assert_eq!(fs::metadata(target.join(name)).unwrap().permissions().mode() & 0o777, 0o600, "{name}");
    }
    assert_eq!(fs::metadata(target.join("private")).unwrap().permissions().mode() & 0o777, 0o700);
    let (old, new) = (home.dir.settings().unwrap(), back.settings().unwrap());
    assert_eq!(
        (old.introducers, old.zone, old.pinned, old.shares, old.convergence),
        (new.introducers, new.zone, new.pinned.clone(), new.shares, new.convergence)
    );
    assert_eq!(new.pinned.len(), 1);
    assert_eq!(Aliases::of(&back).list().unwrap().aliases, Aliases::of(&home.dir).list().unwrap().aliases);
    // It was made from a recovery file, so there is one.
    assert_eq!(exported(&back).unwrap(), Exported::Present);
    assert_eq!(fs::read_dir(target.parent().unwrap()).unwrap().count(), 1, "nothing is left beside it");
}

#[test]
fn what_was_exported_is_remembered() {
    let (home, file) = home();
    export(&home.dir, &file, PASSPHRASE, FAST).unwrap();
    assert_eq!(exported(&home.dir).unwrap(), Exported::Present);
    Aliases::of(&home.dir).add("more", &directory(3)).unwrap();
    assert_eq!(exported(&home.dir).unwrap(), Exported::Without(vec!["more".into()]));
    // A name that stands for something else by now counts as well.
    let listed = Aliases::of(&home.dir).list().unwrap().aliases;
    let name = listed.keys().find(|name| *name != "more").unwrap();
    Aliases::of(&home.dir).remove(name).unwrap();
    Aliases::of(&home.dir).add(name, &directory(4)).unwrap();
    let mut both = vec!["more".to_owned(), name.clone()];
    both.sort();
    assert_eq!(exported(&home.dir).unwrap(), Exported::Without(both));
    Aliases::of(&home.dir).remove(name).unwrap();
    Aliases::of(&home.dir).remove("more").unwrap();
    assert_eq!(exported(&home.dir).unwrap(), Exported::Present, "what is gone need not be kept");
    Aliases::of(&home.dir).add(name, &listed[name]).unwrap();
    assert_eq!(exported(&home.dir).unwrap(), Exported::Present);
    let error = export(&home.dir, &file, PASSPHRASE, FAST).unwrap_err();
    assert!(matches!(error, RecoveryError::FileExists { .. }), "{error}");
    let marker = fs::read_to_string(home.path("private/recovery.exported")).unwrap();
    assert!(!marker.contains("URI"));
    // An older program remembered no single aliases.
    let first = format!("{}\n", marker.lines().next().unwrap());
    fs::write(home.path("private/recovery.exported"), first).unwrap();
    assert_eq!(exported(&home.dir).unwrap(), Exported::Present);
    Aliases::of(&home.dir).add("more", &directory(3)).unwrap();
    assert_eq!(exported(&home.dir).unwrap(), Exported::Without(Vec::new()));
}

#[test]
fn a_damaged_alias_is_left_out_and_told() {
    let (home, file) = home();
    let path = home.path("private/aliases");
    fs::write(&path, format!("{}rubbish\n", fs::read_to_string(&path).unwrap())).unwrap();
    let summary = export(&home.dir, &file, PASSPHRASE, FAST).unwrap();
    assert_eq!(summary, Summary { aliases: 2, left_out: vec![3] });
}

#[test]
fn nothing_is_overwritten() {
    let (home, file) = home();
    export(&home.dir, &file, PASSPHRASE, FAST).unwrap();
    let before = read(&home.path("private"), "account.key");
    let error = import(&home.path(""), &file, PASSPHRASE).unwrap_err();
    assert!(matches!(error, RecoveryError::Config(ConfigError::Exists { .. })), "{error}");
    assert_eq!(read(&home.path("private"), "account.key"), before);
    let folder = home.folder.path().join("full");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("mine"), "x").unwrap();
    let error = import(&folder, &file, PASSPHRASE).unwrap_err();
    assert!(matches!(error, RecoveryError::NotEmpty { .. }), "{error}");
    fs::remove_file(folder.join("mine")).unwrap();
    import(&folder, &file, PASSPHRASE).unwrap();
    ClientDir::open(&folder).unwrap();
}

#[test]
fn what_does_not_open() {
    let (home, file) = home();
    export(&home.dir, &file, PASSPHRASE, FAST).unwrap();
    let whole = fs::read(&file).unwrap();
    let target = home.folder.path().join("new");
    let attempt = |bytes: &[u8], passphrase: &str| {
        fs::write(&file, bytes).unwrap();
        let error = import(&target, &file, passphrase).unwrap_err();
        assert!(!target.exists());
        error
    };
    assert!(matches!(attempt(&whole, "wrong horse"), RecoveryError::WrongPassphrase));
    assert!(matches!(attempt(&whole, ""), RecoveryError::EmptyPassphrase));
    for len in (0..30).chain((30..whole.len()).step_by(9)).chain([whole.len() - 1]) {
        let error = attempt(&whole[..len], PASSPHRASE);
        assert!(matches!(error, RecoveryError::Damaged), "cut to {len} bytes: {error}");
    }
    let mut more = whole.clone();
    more.push(0);
    assert!(matches!(attempt(&more, PASSPHRASE), RecoveryError::Damaged));
    for index in (0..whole.len()).step_by(29) {
        let mut flipped = whole.clone();
        flipped[index] ^= 1;
        // Any named error will do, and none is a success.
        attempt(&flipped, PASSPHRASE);
    }
    assert!(matches!(attempt(b"hello", PASSPHRASE), RecoveryError::NotARecoveryFile));
    let text = String::from_utf8_lossy(&whole).into_owned();
    let stanza = text.lines().nth(1).unwrap();
    let much = format!("{}30", stanza.strip_suffix(" 2").unwrap()) + "\n";
    let rest = whole.iter().position(|b| *b == b'\n').unwrap() + 1 + stanza.len() + 1;
    let much =
        [b"age-encryption.org/v1\n", much.replace("30\n", " 30\n").as_bytes(), &whole[rest..]].concat();
    assert!(matches!(attempt(&much, PASSPHRASE), RecoveryError::TooMuchWork { required: 30 }));
    assert!(!home.folder.path().join("new").exists());
    fs::File::create(&file).unwrap().set_len(1 << 30).unwrap();
    assert!(matches!(import(&target, &file, PASSPHRASE), Err(RecoveryError::TooLarge { .. })));
}

/// Seals other contents, as the `age` program would.
fn sealed(file: &Path, text: &str) {
    let mut recipient = age::scrypt::Recipient::new(age::secrecy::SecretString::from(PASSPHRASE.to_owned()));
    recipient.set_work_factor(FAST);
    fs::write(file, age::encrypt(&recipient, text.as_bytes()).unwrap()).unwrap();
}

const GOOD: &str = r#"
format = "sarsen-recovery"
version = 1
account_key = "aibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaiba"
convergence = "aibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaiba"
[settings]
introducers = []
pinned = []
[settings.shares]
needed = 3
happy = 7
total = 10
[[alias]]
name = "x"
cap = "URI:DIR2:aeaqcaibaeaqcaibaeaqcaibae:aibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaiba"
"#;

#[test]
fn the_contents_are_those_of_the_specification() {
    let folder = tempfile::tempdir().unwrap();
    let (file, target) = (folder.path().join("file"), folder.path().join("client"));
    sealed(&file, GOOD);
    let dir = import(&target, &file, PASSPHRASE).unwrap();
    assert_eq!(Aliases::of(&dir).list().unwrap().aliases.len(), 1);
}

#[test]
fn contents_that_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (file, target) = (folder.path().join("file"), folder.path().join("client"));
    let attempt = |text: &str| {
        sealed(&file, text);
        let error = import(&target, &file, PASSPHRASE).unwrap_err();
        assert!(!target.exists() && fs::read_dir(folder.path()).unwrap().count() == 1, "{error}");
        let shown = format!("{error:?} {error}");
        assert!(!shown.contains("aeaqcaib") && !shown.contains("aibaeaqc"), "{shown}");
        error
    };
    let newer = GOOD.replace("version = 1", "version = 2\nbrand_new = true");
    assert!(matches!(attempt(&newer), RecoveryError::Newer { version: 2 }));
    assert!(matches!(attempt(&GOOD.replace("sarsen-recovery", "other")), RecoveryError::NotARecoveryFile));
    let contents = |error: &RecoveryError| matches!(error, RecoveryError::Contents { .. });
    for (from, to) in [
        ("account_key = \"aib", "account_key = \"ai"),
        ("convergence = \"aib", "convergence = \"!ib"),
        ("introducers = []", "introducers = [\"http://x\"]"),
        ("pinned = []", "pinned = [\"x\"]"),
        ("cap = \"URI:DIR2:ae", "cap = \"URI:DIR2:e"),
        ("pinned = []", "pinned = []\nunknown = \"aeaqcaib\""),
        ("convergence = ", "convergence "),
        ("account_key = \"aibaeaqc", "account_key = 5 # "),
    ] {
        assert!(GOOD.contains(from));
        let error = attempt(&GOOD.replace(from, to));
        assert!(contents(&error), "{from}: {error}");
    }
    let shares = attempt(&GOOD.replace("needed = 3", "needed = 11"));
    assert!(matches!(shares, RecoveryError::Config(ConfigError::Shares { .. })), "{shares}");
    let name = attempt(&GOOD.replace("name = \"x\"", "name = \"a/b\""));
    assert!(matches!(name, RecoveryError::Alias(_)), "{name}");
    attempt("");
}

#[test]
fn bad_arguments() {
    let (home, file) = home();
    assert!(matches!(export(&home.dir, &file, "", FAST), Err(RecoveryError::EmptyPassphrase)));
    for given in [0, 21, 64] {
        assert!(matches!(export(&home.dir, &file, "x", given), Err(RecoveryError::WorkFactor { .. })));
    }
    let gone = home.folder.path().join("no/such/folder");
    assert!(matches!(export(&home.dir, &gone, "x", FAST), Err(RecoveryError::File { .. })));
    assert_eq!(exported(&home.dir).unwrap(), Exported::Never);
    fs::write(&file, "first line\nsecond\n").unwrap();
    assert_eq!(*passphrase_from(&file).unwrap(), "first line");
    fs::write(&file, "\n").unwrap();
    assert!(matches!(passphrase_from(&file), Err(RecoveryError::EmptyPassphrase)));
    fs::write(&file, [0xff]).unwrap();
    assert!(matches!(passphrase_from(&file), Err(RecoveryError::PassphraseNotText)));
}
