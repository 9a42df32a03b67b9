//! The capability grammar, held against Tahoe's own answers and against itself.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot parse its own vectors has nothing to report but the panic"
)]

use caps::{
    Authority, Cap, CapParseError, ImmutableRead, ImmutableVerify, Literal, MAX_CAP_LEN, MAX_SIZE,
    PlacementBucket, Prefix, ReadKey, RepairCap, RepairKind, SlotRead, SlotVerify, SlotWrite, StorageIndex,
    TraversalKey, Unknown, VerifyHash, WriteKey,
};
use proptest::prelude::*;
use serde_json::Value;

const VECTORS: &str = include_str!("../../testkit/vectors/tahoe-caps.json");

fn vectors(list: &str) -> Vec<Value> {
    let all: Value = serde_json::from_str(VECTORS).unwrap();
    all[list].as_array().unwrap().clone()
}

fn text<'a>(entry: &'a Value, field: &str) -> &'a str {
    entry[field].as_str().unwrap_or_else(|| panic!("{field} in {entry}"))
}

/// Our spelling of a cap that Tahoe printed: without hints, and SSK where it says MDMF.
fn twin(cap: &str) -> String {
    let kind = cap.split(':').nth(1).unwrap();
    let Some(ours) = (match kind.strip_suffix("-RO").or(kind.strip_suffix("-Verifier")).unwrap_or(kind) {
        "MDMF" => Some(kind.replace("MDMF", "SSK")),
        "DIR2-MDMF" => Some(kind.replace("-MDMF", "")),
        _ => None,
    }) else {
        return cap.to_owned();
    };
    let fields: Vec<&str> = cap.split(':').skip(2).take(2).collect();
    format!("URI:{ours}:{}", fields.join(":"))
}

#[test]
fn what_tahoe_accepts() {
    let (mut read, mut refused) = (0, 0);
    for entry in vectors("valid") {
        let given = text(&entry, "cap");
        let is_verifier = text(&entry, "kind").ends_with("Verifier");
        let slot = !text(&entry, "kind").contains("CHK") && !text(&entry, "kind").contains("LIT");
        if entry["size"].as_u64().is_some_and(|size| size > MAX_SIZE) {
            assert_eq!(given.parse::<Cap>(), Err(CapParseError::BadNumber { field: "size" }), "{given}");
            refused += 1;
            continue;
        }
        if given.starts_with("imm.") && is_verifier && slot {
            // Tahoe calls every verify cap immutable; what a slot's names does change.
            assert_eq!(
                given.parse::<Cap>(),
                Err(CapParseError::PrefixContradicts { prefix: "imm." }),
                "{given}"
            );
            refused += 1;
            continue;
        }
        let cap: Cap = given.parse().unwrap_or_else(|error| panic!("{given}: {error}"));
        let canonical = entry["canonical"].as_str().unwrap_or(given);
        assert_eq!(cap.to_string(), twin(canonical), "{given}");
        assert_eq!(cap.authority().to_string(), text(&entry, "authority"), "{given}");
        assert_eq!(cap.is_directory(), entry["directory"].as_bool().unwrap(), "{given}");
        assert_eq!(cap.is_mutable(), slot, "{given}");
        assert_eq!(cap.is_mutable(), entry["mutable"].as_bool().unwrap() || is_verifier && slot, "{given}");
        assert_eq!(cap.size(), entry["size"].as_u64(), "{given}");
        let expected_read = (!is_verifier).then(|| twin(text(&entry, "read")));
        assert_eq!(cap.read().map(|cap| cap.to_string()), expected_read, "{given}");
        let expected_verify = entry["verify"].as_str().map(twin);
        assert_eq!(cap.verify().map(|cap| cap.to_string()), expected_verify, "{given}");
        let storage_index = cap.verify().map(|cap| cap.to_string().split(':').nth(2).unwrap().to_owned());
        assert_eq!(storage_index.as_deref(), entry["storage_index"].as_str(), "{given}");
        read += 1;
    }
    assert!(read > 180 && refused > 0, "{read} read, {refused} refused");
}

#[test]
fn what_tahoe_refuses() {
    for entry in vectors("invalid") {
        let given = text(&entry, "cap");
        match given.parse::<Cap>() {
            Err(_) => {}
            Ok(Cap::Unknown(_)) => assert!(given.contains("URI:"), "{given}"),
            Ok(cap) => panic!("{given:?} ({}) is read as {}", entry["why"], cap.kind()),
        }
    }
}

#[test]
fn where_tahoe_is_lenient() {
    for entry in vectors("tahoe_lenient") {
        let (given, why) = (text(&entry, "cap"), text(&entry, "why"));
        let hint = text(&entry, "kind").contains("MDMF") && given.bytes().all(|byte| byte.is_ascii_graphic());
        match given.parse::<Cap>() {
            Ok(cap) => assert!(hint && cap.to_string() == twin(text(&entry, "became")), "{why}: {given:?}"),
            Err(_) => assert!(!hint, "{why}: {given:?}"),
        }
    }
}

/// Bytes 0x90 to 0x9f.
const KEY: &str = "scizfe4uswljpgeztknzzhm6t4";
/// 32 bytes of 2.
const HASH: &str = "aibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaiba";
/// Bytes 0xc0 to 0xdf.
const TRAVERSAL: &str = "yda4fq6eyxdmpsgjzlf4ztooz7induwt2tk5nv6y3hnnxxg533pq";

/// One cap of every kind.
fn one_of_each() -> Vec<String> {
    let mut out =
        vec!["URI:LIT:krugkidr".to_owned(), "URI:DIR2-LIT:krugkidr".to_owned(), "URI:LIT:".to_owned()];
    for kind in ["CHK", "CHK-Verifier", "DIR2-CHK", "DIR2-CHK-Verifier"] {
        out.push(format!("URI:{kind}:{KEY}:{HASH}:3:10:4096"));
    }
    for kind in ["SSK", "SSK-RO", "SSK-Verifier", "DIR2", "DIR2-RO", "DIR2-Verifier"] {
        out.push(format!("URI:{kind}:{KEY}:{HASH}"));
    }
    for kind in ["CHK:3:10:4096", "DIR2-CHK:3:10:4096", "SSK", "DIR2"] {
        out.push(format!("URI:SARSEN-REPAIR:{TRAVERSAL}:{HASH}:51966:{kind}"));
    }
    out
}

#[test]
fn one_changed_character_is_refused_or_another_cap() {
    let alphabet: Vec<char> = (' '..='~').chain(['\n', '\t', '\0', '\u{7f}', '\u{e9}', '\u{ff11}']).collect();
    for original in one_of_each() {
        let cap: Cap = original.parse().unwrap();
        let check = |mutant: String| {
            if mutant != original
                && let Ok(other) = mutant.parse::<Cap>()
            {
                assert_ne!(other, cap, "{mutant}");
                assert_eq!(other.to_string(), mutant);
            }
        };
        for at in 0..=original.len() {
            let (before, after) = original.split_at(at);
            alphabet.iter().for_each(|c| check(format!("{before}{c}{after}")));
            if let Some(rest) = after.get(1..) {
                alphabet.iter().for_each(|c| check(format!("{before}{c}{rest}")));
                check(format!("{before}{rest}"));
            }
        }
    }
}

#[test]
fn repair_caps() {
    let base = format!("URI:SARSEN-REPAIR:{TRAVERSAL}:{HASH}");
    for (rest, directory, size) in [
        ("51966:CHK:3:10:4096", false, Some(4096)),
        ("0:DIR2-CHK:1:1:0", true, Some(0)),
        ("65535:SSK", false, None),
        ("7:DIR2", true, None),
    ] {
        let given = format!("{base}:{rest}");
        let cap: Cap = given.parse().unwrap();
        assert_eq!(cap.to_string(), given);
        assert_eq!((cap.authority(), cap.kind()), (Authority::Repair, "SARSEN-REPAIR"));
        assert_eq!((cap.is_directory(), cap.size()), (directory, size));
        assert_eq!(cap.is_mutable(), size.is_none());
        assert_eq!((cap.read(), cap.verify(), cap.storage_index()), (None, None, None));
        assert_eq!(cap.placement_bucket().unwrap().to_string(), rest.split(':').next().unwrap());
        assert_eq!(cap.verify_hash(), Some(VerifyHash::new([2; 32])));
        assert_eq!(format!("ro.{given}").parse(), Ok(cap.clone()));
        let immutable = format!("imm.{given}").parse::<Cap>();
        assert_eq!(immutable.is_ok(), size.is_some(), "{immutable:?}");
    }
    for rest in [
        "",
        ":7",
        ":7:LIT",
        ":7:DIR2-LIT",
        ":7:chk:3:10:1",
        ":7:SSK-RO",
        ":7:MDMF",
        ":7:DIR2-MDMF",
        ":7:SSK:",
        ":7:SSK:3:10:1",
        ":7:CHK",
        ":7:CHK:3:10",
        ":7:CHK:3:10:1:",
        ":7:CHK:0:10:1",
        ":7:CHK:11:10:1",
        ":7:CHK:3:257:1",
        ":65536:SSK",
        ":-1:SSK",
        ":07:SSK",
        ":00:SSK",
        "::SSK",
        ":+7:SSK",
        ":7:",
        ":7:CHK-Verifier:3:10:1",
        ":7:CHK:3:10:1152921504606846977",
    ] {
        let given = format!("{base}{rest}");
        assert!(given.parse::<Cap>().is_err(), "{given}");
    }
    assert!(format!("URI:SARSEN-REPAIR:{KEY}:{HASH}:7:SSK").parse::<Cap>().is_err(), "a short traversal key");
    assert!(
        format!("{base}:7:CHK:3:10:1152921504606846976").parse::<Cap>().is_ok(),
        "2^60 is the largest size"
    );
}

#[test]
fn unknown_kinds_are_carried() {
    for body in
        ["URI:FUTURE:abc", "URI:CHK3:x:y", "URI:chk:x", "URI:FUTURE", "URI:", "URI:F:!\"#$%&'()*+,-./@[]{}~"]
    {
        for (written, prefix) in
            [("", None), ("ro.", Some(Prefix::ReadOnly)), ("imm.", Some(Prefix::Immutable))]
        {
            let given = format!("{written}{body}");
            let cap: Cap = given.parse().unwrap();
            assert_eq!(cap, Cap::Unknown(Unknown { text: body.to_owned(), prefix }));
            assert_eq!(cap.to_string(), given);
            assert_eq!(cap.authority(), Authority::None);
            assert_eq!((cap.read(), cap.verify(), cap.verify_hash(), cap.size()), (None, None, None, None));
            assert_eq!((cap.storage_index(), cap.placement_bucket()), (None, None));
            assert!(!cap.is_mutable() && !cap.is_directory());
        }
    }
    for given in [
        "",
        "URI",
        "uri:CHK:",
        "lafs://x",
        "ro.",
        "ro.ro.URI:F:",
        "imm.ro.URI:F:",
        "ro.imm.URI:F:",
        "RO.URI:F:",
        "x-tahoe-future:a",
    ] {
        assert_eq!(given.parse::<Cap>(), Err(CapParseError::NotACap), "{given}");
    }
    assert!(matches!("URI:FUTURE:a b".parse::<Cap>(), Err(CapParseError::BadCharacter { index: 12 })));
    let longest = format!("URI:F:{}", "a".repeat(MAX_CAP_LEN - 6));
    assert!(longest.parse::<Cap>().is_ok());
    assert!(matches!(format!("{longest}a").parse::<Cap>(), Err(CapParseError::TooLong { .. })));
}

#[test]
fn prefixes_may_only_repeat_what_the_cap_says() {
    for given in one_of_each() {
        let cap: Cap = given.parse().unwrap();
        let contradicts = [("ro.", cap.authority() == Authority::Write), ("imm.", cap.is_mutable())];
        for (prefix, contradicts) in contradicts {
            let parsed = format!("{prefix}{given}").parse::<Cap>();
            let expected =
                if contradicts { Err(CapParseError::PrefixContradicts { prefix }) } else { Ok(cap.clone()) };
            assert_eq!(parsed, expected, "{prefix}{given}");
        }
    }
}

#[test]
fn debug_and_errors_show_no_secret() {
    for given in one_of_each().into_iter().chain(["URI:FUTURE:krugkidr".to_owned()]) {
        let cap: Cap = given.parse().unwrap();
        let shown = format!("{cap:?} {cap:#?}");
        for secret in [
            KEY, TRAVERSAL, "krugkidr", "FUTURE", "144, 145", "145,\n", "9091", "192, 193", "193,\n", "c0c1",
            "84, 104",
        ] {
            assert!(!shown.contains(secret), "{shown} shows {secret}");
        }
        for spoilt in [
            format!("{given}:"),
            format!("{given}!"),
            format!("imm.{given}"),
            given.replacen(":k", ":K", 1),
            given.replacen(":a", ":A", 1),
        ] {
            if let Err(error) = spoilt.parse::<Cap>() {
                let shown = format!("{error} {error:?}").to_lowercase();
                assert!(
                    ![KEY, TRAVERSAL, HASH, "krugkidr"].iter().any(|secret| shown.contains(secret)),
                    "{shown}"
                );
            }
        }
    }
    assert_eq!(format!("{:?}", WriteKey::new([7; 16])), "WriteKey(secret)");
    assert_eq!(format!("{:?}", StorageIndex::new([7; 16])), "StorageIndex(secret)");
}

#[test]
fn own_derivations_are_pinned() {
    // docs/spec/caps.md repeats these.
    let key = ReadKey::new([1; 16]);
    assert_eq!(key.immutable_storage_index().placement_bucket(), PlacementBucket(BUCKET));
    let hex: String = key.traversal_key(&[2; 32]).expose().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, TRAVERSAL_KEY_HEX);
}

const BUCKET: u16 = 24664;
const TRAVERSAL_KEY_HEX: &str = "29236464b66191c48efdfaa3b2c0be0e2bce17687c5b3956a5a97f00af05fa47";

fn hash() -> impl Strategy<Value = VerifyHash> {
    any::<[u8; 32]>().prop_map(VerifyHash::new)
}

fn parameters() -> impl Strategy<Value = (u16, u16, u64)> {
    (1u16..=256).prop_flat_map(|total| (1..=total, Just(total), prop_oneof![0..=MAX_SIZE, 0..100u64]))
}

fn any_cap() -> impl Strategy<Value = Cap> {
    let key = any::<[u8; 16]>;
    let literal = (prop::collection::vec(any::<u8>(), 0..=55), any::<bool>())
        .prop_map(|(bytes, directory)| Cap::Literal(Literal { bytes, directory }));
    let read = (key(), hash(), parameters(), any::<bool>()).prop_map(
        |(key, hash, (needed, total, size), directory)| {
            Cap::ImmutableRead(ImmutableRead { key: ReadKey::new(key), hash, needed, total, size, directory })
        },
    );
    let verify = (key(), hash(), parameters(), any::<bool>()).prop_map(
        |(key, hash, (needed, total, size), directory)| {
            Cap::ImmutableVerify(ImmutableVerify {
                storage_index: StorageIndex::new(key),
                hash,
                needed,
                total,
                size,
                directory,
            })
        },
    );
    let slot = (key(), hash(), any::<bool>(), 0..3).prop_map(|(key, hash, directory, which)| match which {
        0 => Cap::SlotWrite(SlotWrite { key: WriteKey::new(key), hash, directory }),
        1 => Cap::SlotRead(SlotRead { key: ReadKey::new(key), hash, directory }),
        _ => Cap::SlotVerify(SlotVerify { storage_index: StorageIndex::new(key), hash, directory }),
    });
    let repair = (any::<[u8; 32]>(), hash(), any::<u16>(), prop::option::of(parameters()), any::<bool>())
        .prop_map(|(key, hash, bucket, parameters, directory)| {
            let kind = match parameters {
                Some((needed, total, size)) => RepairKind::Immutable { needed, total, size, directory },
                None => RepairKind::Slot { directory },
            };
            Cap::Repair(RepairCap {
                traversal_key: TraversalKey::new(key),
                hash,
                bucket: PlacementBucket(bucket),
                kind,
            })
        });
    let prefix = prop_oneof![Just(None), Just(Some(Prefix::ReadOnly)), Just(Some(Prefix::Immutable))];
    let unknown =
        ("URI:X[!-~]{0,40}", prefix).prop_map(|(text, prefix)| Cap::Unknown(Unknown { text, prefix }));
    prop_oneof![literal, read, verify, slot, repair, unknown]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn what_is_printed_is_read_back(cap in any_cap()) {
        let printed = cap.to_string();
        prop_assert!(printed.len() <= MAX_CAP_LEN);
        prop_assert_eq!(printed.parse::<Cap>(), Ok(cap));
    }

    #[test]
    fn what_is_read_is_printed_back(text in "((ro|imm)\\.)?URI:(LIT|CHK|SSK|DIR2|DIR2-LIT|F)(:[a-z2-7]{0,6}){0,2}(:[0-9]{1,2}){0,3}") {
        if let Ok(cap) = text.parse::<Cap>() {
            let printed = cap.to_string();
            prop_assert_eq!(printed.parse::<Cap>(), Ok(cap.clone()));
            // A prefix that only repeats what the cap says is dropped; all else is kept.
            let bare = text.strip_prefix("ro.").or(text.strip_prefix("imm.")).unwrap_or(&text);
            prop_assert!(printed == text || printed == bare);
        }
    }

    #[test]
    fn nothing_makes_the_parser_panic(text in "\\PC{0,80}", tail in ".{0,40}") {
        for given in [text.clone(), format!("URI:{text}"), format!("URI:CHK:{tail}"), format!("URI:SARSEN-REPAIR:{tail}")] {
            let _ = given.parse::<Cap>();
        }
    }

    #[test]
    fn attenuation_never_gains(cap in any_cap()) {
        let given = cap.to_string();
        let secret = given.split(':').nth(2).unwrap_or("").to_owned();
        for weaker in [cap.read(), cap.verify()].into_iter().flatten() {
            prop_assert!(weaker.authority() <= cap.authority());
            prop_assert_eq!(weaker.verify_hash(), cap.verify_hash());
            prop_assert_eq!(weaker.size(), cap.size());
            prop_assert_eq!(weaker.is_directory(), cap.is_directory());
            prop_assert_eq!(weaker.is_mutable(), cap.is_mutable());
            prop_assert_eq!(weaker.placement_bucket(), cap.placement_bucket());
            prop_assert_eq!(weaker.verify(), cap.verify());
            if weaker.authority() < cap.authority() {
                prop_assert!(!weaker.to_string().contains(&secret), "{} gives away a key", weaker.kind());
                prop_assert!(weaker.read().is_none_or(|read| read.authority() <= weaker.authority()));
            } else {
                prop_assert_eq!(weaker, cap.clone());
            }
        }
        if let Some(read) = cap.read() {
            prop_assert_eq!(read.authority(), Authority::Read);
            prop_assert_eq!(read.read(), Some(read));
        } else {
            prop_assert!(cap.authority() < Authority::Read);
        }
        if let Some(verify) = cap.verify() {
            prop_assert_eq!(verify.authority(), Authority::Verify);
            prop_assert_eq!(verify.read(), None);
        }
    }
}
