//! `private/aliases`.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use caps::Cap;
use client::aliases::name;
use client::{AliasError, AliasNameError, Aliases, Root};

use crate::things::{Home, directory, file};

#[test]
fn added_listed_renamed_and_removed() {
    let home = Home::new();
    let aliases = Aliases::of(&home.dir);
    assert!(aliases.list().unwrap().aliases.is_empty());
    aliases.add("b:", &directory(2)).unwrap();
    aliases.add("a", &directory(1).read().unwrap()).unwrap();
    let listed: Vec<_> = aliases.list().unwrap().aliases.into_iter().collect();
    assert_eq!(listed, [("a".into(), directory(1).read().unwrap()), ("b".into(), directory(2))]);
    assert_eq!(aliases.get("b:").unwrap(), directory(2));
    aliases.rename("b", "c").unwrap();
    assert!(matches!(aliases.get("b"), Err(AliasError::Unknown { .. })));
    assert_eq!(aliases.get("c").unwrap(), directory(2));
    assert!(matches!(aliases.rename("c", "a"), Err(AliasError::Exists { .. })));
    assert!(matches!(aliases.add("a", &directory(3)), Err(AliasError::Exists { .. })));
    aliases.remove("a").unwrap();
    assert!(matches!(aliases.remove("a"), Err(AliasError::Unknown { .. })));
    let mode = fs::metadata(home.path("private/aliases")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn comments_and_what_is_not_understood_stay() {
    let home = Home::new();
    let (one, two) = (directory(1), directory(2));
    let text = format!("# mine\n\n  x : {one}\nbroken: URI:DIR2:zzz\nno colon\ny:{two}");
    fs::write(home.path("private/aliases"), &text).unwrap();
    fs::set_permissions(home.path("private/aliases"), PermissionsExt::from_mode(0o600)).unwrap();
    let aliases = Aliases::of(&home.dir);
    let listing = aliases.list().unwrap();
    assert_eq!(listing.damaged, [4, 5]);
    assert_eq!(listing.aliases.keys().collect::<Vec<_>>(), ["x", "y"]);
    assert!(matches!(aliases.get("broken"), Err(AliasError::Damaged { .. })));
    assert!(matches!(aliases.add("broken", &one), Err(AliasError::Exists { .. })));
    aliases.add("z", &one).unwrap();
    aliases.rename("x", "w").unwrap();
    let expected = format!("# mine\n\nw: {one}\nbroken: URI:DIR2:zzz\nno colon\ny:{two}\nz: {one}\n");
    assert_eq!(fs::read_to_string(home.path("private/aliases")).unwrap(), expected);
    aliases.remove("broken").unwrap();
    assert_eq!(aliases.list().unwrap().damaged, [4]);
}

#[test]
fn of_two_lines_of_a_name_the_later_counts() {
    let home = Home::new();
    let path = home.path("private/aliases");
    fs::write(&path, format!("x: {}\nx: {}\n", directory(1), directory(2))).unwrap();
    fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    let aliases = Aliases::of(&home.dir);
    assert_eq!(aliases.get("x").unwrap(), directory(2));
    aliases.remove("x").unwrap();
    assert!(matches!(aliases.get("x"), Err(AliasError::Unknown { .. })));
}

#[test]
fn a_file_that_others_read_is_refused() {
    let home = Home::new();
    let path = home.path("private/aliases");
    fs::write(&path, "").unwrap();
    fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
    assert!(matches!(Aliases::of(&home.dir).list(), Err(AliasError::File { .. })));
}

#[test]
fn a_file_that_is_too_large_is_refused_unread() {
    let home = Home::new();
    let file = fs::File::create(home.path("private/aliases")).unwrap();
    file.set_len(1 << 40).unwrap();
    assert!(matches!(Aliases::of(&home.dir).list(), Err(AliasError::TooLarge { .. })));
}

#[test]
fn caps_that_no_alias_may_stand_for() {
    let home = Home::new();
    let aliases = Aliases::of(&home.dir);
    let refused = |cap: Cap| aliases.add("x", &cap).unwrap_err();
    assert!(matches!(refused(file(1)), AliasError::NotADirectory { kind: "CHK" }));
    assert!(matches!(refused(directory(1).verify().unwrap()), AliasError::NotReadable { .. }));
    assert!(matches!(refused("URI:FUTURE:secret".parse().unwrap()), AliasError::UnknownKind));
    assert!(!home.path("private/aliases").exists());
}

#[test]
fn an_unknown_name_is_told_with_close_ones() {
    let home = Home::new();
    let aliases = Aliases::of(&home.dir);
    for other in ["photos", "Photo", "work"] {
        aliases.add(other, &directory(1)).unwrap();
    }
    let error = aliases.get("phtos").unwrap_err();
    let AliasError::Unknown { close, .. } = &error else { panic!("{error}") };
    assert_eq!(close, &["photos", "Photo"]);
    assert!(error.to_string().contains("did you mean \"photos\" or \"Photo\"?"), "{error}");
    assert!(!format!("{error:?}").contains("URI:"));
}

#[test]
fn the_default_is_sarsen_and_then_tahoe() {
    let home = Home::new();
    let aliases = Aliases::of(&home.dir);
    assert!(matches!(aliases.resolve(&Root::Default), Err(AliasError::NoDefault)));
    aliases.add("tahoe", &directory(1)).unwrap();
    assert_eq!(aliases.resolve(&Root::Default).unwrap(), directory(1));
    aliases.add("sarsen", &directory(2)).unwrap();
    assert_eq!(aliases.resolve(&Root::Default).unwrap(), directory(2));
    assert_eq!(aliases.resolve(&Root::Cap(file(3))).unwrap(), file(3));
    assert_eq!(aliases.resolve(&Root::Alias("tahoe".into())).unwrap(), directory(1));
    // A default that is damaged is not passed over for the other.
    let path = home.path("private/aliases");
    let text = fs::read_to_string(&path).unwrap().replace("sarsen: URI:DIR2:", "sarsen: URI:DIR2:!");
    fs::write(&path, text).unwrap();
    assert!(matches!(aliases.resolve(&Root::Default), Err(AliasError::Damaged { .. })));
}

#[test]
fn names() {
    assert_eq!(name("cafe\u{301}:").unwrap(), "caf\u{e9}");
    assert_eq!(name(""), Err(AliasNameError::Empty));
    assert_eq!(name(":"), Err(AliasNameError::Empty));
    for (text, character) in [("a:b", ':'), ("a/b", '/'), ("a b", ' '), ("a\u{a0}", '\u{a0}'), ("a\0", '\0')]
    {
        assert_eq!(name(text), Err(AliasNameError::BadCharacter { character }));
    }
    for text in ["URI", "ro.URI", "env", "@file", "#x"] {
        assert!(matches!(name(text), Err(AliasNameError::Taken { .. })), "{text}");
    }
    assert_eq!(name(&"a".repeat(256)), Err(AliasNameError::TooLong { len: 256 }));
}

#[test]
fn many_at_once_lose_nothing() {
    let home = Home::new();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let aliases = Aliases::of(&home.dir);
            scope.spawn(move || {
                for number in 0..25 {
                    aliases.add(&format!("t{thread}-{number}"), &directory(thread)).unwrap();
                }
            });
        }
    });
    assert_eq!(Aliases::of(&home.dir).list().unwrap().aliases.len(), 200);
}
