//! Capability strings. What parses prints as it was written (without `MDMF` and a prefix), and parses again to the same; weaker caps
//! are weaker, and do not depend on the way there; no error and no debug output repeats a secret.

#![no_main]

use caps::{Authority, Cap};
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: sarsen_fuzz::sow(seeds()), |data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(cap) = text.parse::<Cap>() else { return };
    let printed = cap.to_string();
    assert_eq!(printed.parse::<Cap>().as_ref(), Ok(&cap));
    let bare = text.strip_prefix("ro.").or_else(|| text.strip_prefix("imm.")).unwrap_or(text);
    match &cap {
        Cap::Unknown(_) => assert_eq!(printed, text),
        _ if bare.contains("MDMF") => assert!(!printed.contains("MDMF")),
        _ => assert_eq!(printed, bare),
    }
    assert!(cap.authority() != Authority::Write || !text.starts_with("ro."));
    assert!(!cap.is_mutable() || !text.starts_with("imm."));
    check_weaker(&cap);
    check_discretion(&cap, &printed);
});

fn check_weaker(cap: &Cap) {
    let (read, verify) = (cap.read(), cap.verify());
    for (weaker, authority) in [(&read, Authority::Read), (&verify, Authority::Verify)] {
        let Some(weaker) = weaker else { continue };
        assert!(weaker.authority() == authority && authority <= cap.authority());
        assert_eq!(weaker.to_string().parse::<Cap>().as_ref(), Ok(weaker));
        assert_eq!(weaker.verify(), verify, "two ways to the verify cap");
        assert_eq!(weaker.is_directory(), cap.is_directory());
        assert_eq!((weaker.size(), weaker.verify_hash()), (cap.size(), cap.verify_hash()));
        assert_eq!(weaker.storage_index(), cap.storage_index());
    }
}

/// The secret is the field after the kind.
fn check_discretion(cap: &Cap, printed: &str) {
    let secret = match printed.strip_prefix("URI:").and_then(|body| body.split(':').nth(1)) {
        // A short one, or one that stands elsewhere in the cap too, shows up by chance.
        Some(secret) if secret.len() >= 16 && printed.matches(secret).count() == 1 => secret,
        _ => return,
    };
    assert!(!format!("{cap:?}").contains(secret));
    if let Err(error) = format!("{printed}:").parse::<Cap>() {
        assert!(!format!("{error} {error:?}").contains(secret));
    }
}

fn seeds() -> impl Iterator<Item = Vec<u8>> {
    let (half, full) = ("my".repeat(13), "b4".repeat(25) + "ca");
    let slots = ["SSK", "SSK-RO", "SSK-Verifier", "DIR2", "DIR2-RO", "DIR2-Verifier", "MDMF", "DIR2-MDMF-RO"];
    let slots = slots.map(|kind| format!("URI:{kind}:{half}:{full}"));
    let objects = ["CHK", "CHK-Verifier", "DIR2-CHK", "DIR2-CHK-Verifier"];
    let objects = objects.map(|kind| format!("URI:{kind}:{half}:{full}:3:10:4096"));
    let others = [
        "URI:LIT:".to_owned(),
        "URI:DIR2-LIT:nbswy3dp".to_owned(),
        format!("ro.URI:SSK-RO:{half}:{full}"),
        format!("imm.URI:CHK:{half}:{full}:1:1:0"),
        format!("URI:MDMF:{half}:{full}:3:131073"),
        format!("URI:SARSEN-REPAIR:{full}:{full}:65535:CHK:3:10:4096"),
        format!("URI:SARSEN-REPAIR:{full}:{full}:0:DIR2"),
        "ro.URI:FUTURE:x:y".to_owned(),
    ];
    slots.into_iter().chain(objects).chain(others).map(String::into_bytes)
}
