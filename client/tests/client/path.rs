//! Paths on the grid.

use client::path::MAX_PATH_LEN;
use client::{AliasNameError, GridPath, PathError, Root};
use encoding::directory::{Name, NameError};
use proptest::prelude::*;

use crate::things::{directory, file};

fn parsed(text: &str) -> (Root, Vec<Name>, bool) {
    let path: GridPath = text.parse().unwrap_or_else(|e| panic!("{text:?}: {e}"));
    (path.root, path.names, path.trailing_slash)
}

fn refused(text: &str) -> PathError {
    text.parse::<GridPath>().expect_err(text)
}

#[test]
fn all_forms() {
    let names = |names: &[&str]| names.iter().map(|name| Name::new(name).unwrap()).collect::<Vec<_>>();
    let alias = |name: &str| Root::Alias(name.to_owned());
    let (dir, immutable) = (directory(1), file(1));
    let table = [
        (String::new(), Root::Default, names(&[]), false),
        ("a/b".into(), Root::Default, names(&["a", "b"]), false),
        ("a/b:c".into(), Root::Default, names(&["a", "b:c"]), false),
        ("a/".into(), Root::Default, names(&["a"]), true),
        ("x:".into(), alias("x"), names(&[]), false),
        ("x:a/b/".into(), alias("x"), names(&["a", "b"]), true),
        ("x:a:b".into(), alias("x"), names(&["a:b"]), false),
        ("x: a ".into(), alias("x"), names(&[" a "]), false),
        ("x:...".into(), alias("x"), names(&["..."]), false),
        (dir.to_string(), Root::Cap(dir.clone()), names(&[]), false),
        (format!("{dir}/"), Root::Cap(dir.clone()), names(&[]), true),
        (format!("{dir}/a/b"), Root::Cap(dir.clone()), names(&["a", "b"]), false),
        (format!("{dir}:./a/b/"), Root::Cap(dir.clone()), names(&["a", "b"]), true),
        (format!("{dir}:./"), Root::Cap(dir.clone()), names(&[]), true),
        (format!("{dir}/a:./b"), Root::Cap(dir), names(&["a:.", "b"]), false),
        (format!("{immutable}/a"), Root::Cap(immutable), names(&["a"]), false),
        ("imm.URI:NEW:x/a".into(), Root::Cap("imm.URI:NEW:x".parse().unwrap()), names(&["a"]), false),
        ("x:cafe\u{301}".into(), alias("x"), names(&["caf\u{e9}"]), false),
    ];
    for (text, root, names, slash) in table {
        assert_eq!(parsed(&text), (root, names, slash), "{text:?}");
    }
}

#[test]
fn what_is_no_path() {
    let dir = directory(1);
    assert_eq!(refused("/etc/passwd"), PathError::LeadingSlash);
    assert_eq!(refused("/"), PathError::LeadingSlash);
    for text in
        ["x:/a", "x:/", "a//b", "x:a//", &format!("{dir}//a"), &format!("{dir}//"), &format!("{dir}:.//a")]
    {
        assert_eq!(refused(text), PathError::EmptyName, "{text}");
    }
    assert_eq!(refused("x:a/../b"), PathError::Name(NameError::Dots));
    assert_eq!(refused("./a"), PathError::Name(NameError::Dots));
    assert_eq!(refused("a\0b"), PathError::Name(NameError::Nul));
    assert_eq!(refused(":a"), PathError::Alias(AliasNameError::Empty));
    assert!(matches!(refused("my files:a"), PathError::Alias(AliasNameError::BadCharacter { .. })));
    assert!(matches!(refused("URI:DIR2:short/a"), PathError::Cap(_)));
    assert_eq!(
        refused(&format!("x:a/{}", "b".repeat(256))),
        PathError::Name(NameError::TooLong { len: 256 })
    );
    assert_eq!(refused(&"a/".repeat(MAX_PATH_LEN)), PathError::TooLong { len: 2 * MAX_PATH_LEN });
}

#[test]
fn an_error_repeats_no_secret() {
    let text = format!("{}x/a", directory(7));
    let error = refused(&text);
    assert!(!format!("{error:?} {error}").contains("a4dqob"), "{error:?}");
}

proptest! {
    #[test]
    fn nothing_panics_and_names_are_names(text in "\\PC{0,40}|[a-c:/.]{0,20}|URI:DIR2:[a-z:/.]{0,80}") {
        if let Ok(path) = text.parse::<GridPath>() {
            for found in &path.names {
                prop_assert_eq!(Name::new(found.as_str()), Ok(found.clone()));
            }
            prop_assert_eq!(path.trailing_slash, text.ends_with('/'));
        }
    }

    #[test]
    fn names_that_are_joined_are_found_again(names in proptest::collection::vec("[^/\u{0}]{1,20}", 0..5)) {
        let names: Vec<Name> = names.iter().filter_map(|text| Name::new(text).ok()).collect();
        let path: GridPath = format!("x:{}", names.iter().map(Name::as_str).collect::<Vec<_>>().join("/")).parse().unwrap();
        prop_assert_eq!(path.names, names);
        prop_assert_eq!(path.root, Root::Alias("x".into()));
    }
}
