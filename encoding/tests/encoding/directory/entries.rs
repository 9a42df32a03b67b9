//! Names, caps and metadata of entries.

use caps::{Authority, Cap};
use encoding::directory::{
    ChildCaps, DirectoryError, Entry, EntryError, EntryKind, MAX_EXTRA_LEN, MAX_XATTRS_LEN, Metadata,
    MetadataError, Mutability, Name, NameError, Node, Time,
};
use proptest::prelude::*;

use super::{cap, file_entry, full_metadata, name, object, sealed, slot, slot_entry};

use Mutability::{Immutable, Mutable};

#[test]
fn names_are_refused_by_name() {
    let long = "é".repeat(128);
    for (text, error) in [
        ("", NameError::Empty),
        (".", NameError::Dots),
        ("..", NameError::Dots),
        ("a/b", NameError::Slash),
        ("/", NameError::Slash),
        ("a\0", NameError::Nul),
        (&long, NameError::TooLong { len: 256 }),
        (&"x".repeat(2000), NameError::TooLong { len: 2000 }),
    ] {
        assert_eq!(Name::new(text), Err(error), "{text:?}");
    }
    for text in ["...", ".a", " ", "\n", &"x".repeat(255), "日本語"] {
        assert_eq!(Name::new(text).unwrap().as_str(), text);
        assert_eq!(Name::from_stored(text).unwrap().as_str(), text);
    }
}

#[test]
fn names_are_normalised_when_made_and_refused_unnormalised_when_read() {
    assert_eq!(Name::new("e\u{301}"), Name::new("\u{e9}"));
    assert_eq!(Name::from_stored("e\u{301}"), Err(NameError::NotNormalized));
    // 127 letters of two bytes, each given as three.
    assert_eq!(Name::new(&"e\u{301}".repeat(127)).unwrap().as_str().len(), 254);
    // And 85 that decompose for good.
    assert_eq!(Name::new(&"\u{fb2c}".repeat(85)), Err(NameError::TooLong { len: 510 }));
}

#[test]
fn metadata_come_back_and_have_bounds() {
    let entry = Entry { metadata: full_metadata(), ..file_entry(1) };
    let node = Node::Leaf(vec![(name("a"), entry)]);
    assert_eq!(Node::parse(&node.to_sections(), Immutable), Ok(node));

    let xattr = |name: &str, len| (name.to_owned(), vec![0; len]);
    let with = |change: &dyn Fn(&mut Metadata)| {
        let mut metadata = full_metadata();
        change(&mut metadata);
        metadata.check()
    };
    let late = Time { seconds: 0, nanoseconds: 1_000_000_000 };
    assert_eq!(
        with(&|m| m.ctime = Some(late)),
        Err(MetadataError::Nanoseconds { nanoseconds: 1_000_000_000 })
    );
    assert_eq!(with(&|m| m.symlink = Some(vec![])), Err(MetadataError::Symlink { len: 0 }));
    assert_eq!(with(&|m| m.symlink = Some(vec![b'a'; 4097])), Err(MetadataError::Symlink { len: 4097 }));
    assert_eq!(with(&|m| m.symlink = Some(vec![0])), Err(MetadataError::Symlink { len: 1 }));
    assert_eq!(with(&|m| m.xattrs.reverse()), Err(MetadataError::XattrName));
    assert_eq!(with(&|m| m.xattrs = vec![xattr("", 1)]), Err(MetadataError::XattrName));
    let len = MAX_XATTRS_LEN + 1;
    assert_eq!(with(&|m| m.xattrs = vec![xattr("a", len - 1)]), Err(MetadataError::XattrsTooLong { len }));
    assert_eq!(with(&|m| drop(m.extra.insert(15, vec![]))), Err(MetadataError::Field { field: 15 }));
    let too_long = with(&|m| drop(m.extra.insert(20, vec![0; MAX_EXTRA_LEN])));
    assert!(matches!(too_long, Err(MetadataError::ExtraTooLong { .. })));
}

fn refused(entry: Entry, mutability: Mutability) -> EntryError {
    let error = entry.check(mutability).unwrap_err();
    // Whoever wrote it all the same is refused when it is read.
    let node = Node::Leaf(vec![(name("a"), entry)]);
    assert_eq!(Node::parse(&node.to_sections(), mutability), Err(DirectoryError::Entry(error.clone())));
    error
}

#[test]
fn an_entry_that_claims_more_than_it_carries_is_refused() {
    let of = |cap: Cap| Entry::new(Entry::kind_of(&cap), cap);
    let write = of(Cap::SlotWrite(slot(3, false)));
    assert_eq!(refused(write.clone(), Mutable), EntryError::TooMuchAuthority);
    assert_eq!(refused(write, Immutable), EntryError::TooMuchAuthority);
    let verify = of(Cap::ImmutableRead(object(1, false)).verify().unwrap());
    assert_eq!(refused(verify, Mutable), EntryError::CannotRead { authority: Authority::Verify });
    assert_eq!(refused(of(cap("URI:FUTURE:x")), Mutable), EntryError::NoLimit);
    let directory = Entry::new(EntryKind::File, Cap::ImmutableRead(object(1, true)));
    assert_eq!(refused(directory, Mutable), EntryError::KindOfCap { cap: "DIR2-CHK" });
    let literal = Entry { salt: Some([0; 32]), ..of(cap("URI:LIT:")) };
    assert_eq!(refused(literal, Mutable), EntryError::Salt { cap: "LIT" });
    let bare = Entry { write: None, ..slot_entry(3) };
    assert_eq!(refused(bare, Mutable), EntryError::WriteMissing);
    assert_eq!(refused(of(cap("ro.URI:FUTURE:x")), Mutable), EntryError::WriteMissing);
    let other = sealed(&cap("ro.URI:FUTURE:x"), None, 1);
    let other_length = Entry { write: Some(other), ..slot_entry(3) };
    assert_eq!(refused(other_length, Mutable), EntryError::WriteLength { len: 552 });
}

#[test]
fn an_immutable_directory_holds_only_what_cannot_change() {
    for good in ["URI:LIT:nbswy3dp", "URI:DIR2-LIT:qmaabaa", "imm.URI:FUTURE:x"] {
        let entry = Entry::new(Entry::kind_of(&cap(good)), cap(good));
        assert_eq!(entry.check(Immutable), Ok(()), "{good}");
    }
    for directory in [false, true] {
        let entry = |cap| Entry::new(Entry::kind_of(&cap), cap);
        assert_eq!(entry(Cap::ImmutableRead(object(1, directory))).check(Immutable), Ok(()));
        let read = Cap::SlotWrite(slot(1, directory)).read().unwrap();
        let kind = read.kind();
        assert_eq!(refused(entry(read), Immutable), EntryError::NotDeepImmutable { kind });
    }
    let read_only = Entry::new(EntryKind::Unknown, cap("ro.URI:FUTURE:x"));
    assert_eq!(refused(read_only, Immutable), EntryError::NotDeepImmutable { kind: "unknown" });
    let file = file_entry(1);
    let dummy = sealed(&file.cap, None, 1);
    assert_eq!(refused(Entry { write: Some(dummy), ..file }, Immutable), EntryError::WriteInImmutable);
}

/// Write cap, read cap, where to; read cap and write cap in the end.
type Given = (Option<&'static str>, Option<&'static str>, Mutability);

#[test]
fn caps_of_unknown_kinds_keep_to_what_they_allege() {
    let caps = |(write, read, mutability): Given| ChildCaps::new(write.map(cap), read.map(cap), mutability);
    let good: [(Given, &str, Option<&str>); 7] = [
        ((None, Some("URI:X:1"), Mutable), "ro.URI:X:1", None),
        ((None, Some("URI:X:1"), Immutable), "imm.URI:X:1", None),
        ((None, Some("imm.URI:X:1"), Mutable), "imm.URI:X:1", None),
        ((Some("ro.URI:X:1"), None, Mutable), "ro.URI:X:1", None),
        ((Some("URI:X:1"), Some("URI:X:2"), Mutable), "ro.URI:X:2", Some("URI:X:1")),
        ((Some("URI:X:1"), Some("imm.URI:X:2"), Mutable), "imm.URI:X:2", None),
        ((Some("URI:LIT:"), Some("URI:LIT:nbswy3dp"), Immutable), "URI:LIT:", None),
    ];
    for (given, read, write) in good {
        let caps = caps(given).unwrap();
        let texts = (caps.read.to_string(), caps.write.map(|cap| cap.to_string()));
        assert_eq!(texts, (read.to_owned(), write.map(str::to_owned)), "{given:?}");
    }
    let not_deep = EntryError::NotDeepImmutable { kind: "unknown" };
    for (given, error) in [
        ((None, None, Mutable), EntryError::NoCap),
        ((Some("URI:X:1"), None, Mutable), EntryError::UnknownWrite),
        ((Some("URI:X:1"), Some("URI:LIT:"), Mutable), EntryError::UnknownWrite),
        ((Some("URI:X:1"), Some("URI:X:2"), Immutable), not_deep.clone()),
        ((None, Some("ro.URI:X:1"), Immutable), not_deep),
    ] {
        assert_eq!(caps(given), Err(error), "{given:?}");
    }
    let write = Cap::SlotWrite(slot(1, true));
    let both = ChildCaps { read: write.read().unwrap(), write: Some(write.clone()) };
    assert_eq!(ChildCaps::new(Some(write.clone()), None, Mutable), Ok(both));
    assert_eq!(ChildCaps::new(None, Some(write.clone()), Mutable), Err(EntryError::TooMuchAuthority));
    let not_deep = EntryError::NotDeepImmutable { kind: "DIR2-RO" };
    assert_eq!(ChildCaps::new(Some(write), None, Immutable), Err(not_deep));
}

proptest! {
    #[test]
    fn what_is_normalised_once_stays(text in "\\PC{0,80}") {
        if let Ok(name) = Name::new(&text) {
            prop_assert_eq!(Name::new(name.as_str()), Ok(name.clone()));
            prop_assert_eq!(Name::from_stored(name.as_str()), Ok(name));
        }
    }
}
