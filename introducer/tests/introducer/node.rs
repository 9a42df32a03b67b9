//! The introducer's directory.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use introducer::node::{self, InitError, IntroducerNode, KeyError, OpenError};
use protocol::{NodeAddress, OsRandom};

#[test]
fn a_directory_is_made_once_and_opened_by_one() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("introducer");
    assert!(matches!(IntroducerNode::open(&dir), Err(OpenError::NotThere { .. })));
    node::init(&dir, "127.0.0.1:0".parse().unwrap(), &OsRandom).unwrap();
    assert!(!dir.join("introducer.url").exists());
    let again = node::init(&dir, "127.0.0.1:0".parse().unwrap(), &OsRandom);
    assert!(matches!(again, Err(InitError::AlreadyThere { .. })));
    let mode = fs::metadata(dir.join("node.key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let opened = IntroducerNode::open(&dir).unwrap();
    assert!(matches!(IntroducerNode::open(&dir), Err(OpenError::Locked { .. })));
    let address = opened.write_url("127.0.0.1:4711".parse().unwrap()).unwrap();
    let written: NodeAddress =
        fs::read_to_string(dir.join("introducer.url")).unwrap().trim_end().parse().unwrap();
    assert_eq!(written, address);
    assert_eq!(written, NodeAddress { id: opened.key().id(), host: "127.0.0.1:4711".into() });
    let id = opened.key().id();
    drop(opened);
    assert_eq!(IntroducerNode::open(&dir).unwrap().key().id(), id);
}

#[test]
fn the_address_is_known_at_once_if_the_port_is() {
    let check = |listen: &str, expected: &str| {
        let dir = tempfile::tempdir().unwrap();
        node::init(dir.path(), listen.parse().unwrap(), &OsRandom).unwrap();
        let url = fs::read_to_string(dir.path().join("introducer.url")).unwrap();
        let address: NodeAddress = url.trim_end().parse().unwrap();
        assert!(address.host.ends_with(expected), "{address}");
        assert!(!address.host.starts_with("0.0.0.0"));
    };
    check("127.0.0.1:4711", "127.0.0.1:4711");
    check("[::1]:4711", "[::1]:4711");
    check("0.0.0.0:4711", ":4711");
}

#[test]
fn what_the_owner_says_of_the_address_counts() {
    let dir = tempfile::tempdir().unwrap();
    node::init(dir.path(), "127.0.0.1:0".parse().unwrap(), &OsRandom).unwrap();
    let config = dir.path().join("introducer.toml");
    let text = fs::read_to_string(&config).unwrap();
    let check = |advertise: &str, expected: &str| {
        fs::write(&config, format!("{text}advertise = \"{advertise}\"\n")).unwrap();
        let opened = IntroducerNode::open(dir.path()).unwrap();
        assert_eq!(opened.write_url("127.0.0.1:9".parse().unwrap()).unwrap().host, expected);
    };
    check("stones.example.org", "stones.example.org:9");
    check("stones.example.org:4711", "stones.example.org:4711");
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    node::init(dir.path(), "127.0.0.1:0".parse().unwrap(), &OsRandom).unwrap();
    let key = dir.path().join("node.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
    let opened = IntroducerNode::open(dir.path());
    assert!(matches!(opened, Err(OpenError::Key(KeyError::Exposed { .. }))), "{opened:?}");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    for text in ["", "00", "zz", &"0".repeat(65), &"Z".repeat(64)] {
        fs::write(&key, text).unwrap();
        let opened = IntroducerNode::open(dir.path());
        assert!(matches!(opened, Err(OpenError::Key(KeyError::Malformed { .. }))), "{opened:?}");
    }
}

#[test]
fn unknown_keys_in_the_configuration_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    node::init(dir.path(), "127.0.0.1:0".parse().unwrap(), &OsRandom).unwrap();
    let config = dir.path().join("introducer.toml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, format!("{text}nikname = \"x\"\n")).unwrap();
    match IntroducerNode::open(dir.path()) {
        Err(OpenError::Config { message, .. }) => assert!(message.contains("nikname"), "{message}"),
        other => panic!("{other:?}"),
    }
}
