//! `sarsen cap show`: what a capability lets its holder do.

use caps::{Authority, Cap};

use crate::caps_from;
use crate::out::say;

pub(crate) fn run(cap: &str, json: bool) -> anyhow::Result<()> {
    let cap = caps_from::read(cap)?;
    if json { print_json(&cap) } else { print(&cap) }
}

/// Kind, what it names, and what its holder may do.
fn describe(cap: &Cap) -> (&'static str, &'static str) {
    let thing = match cap {
        Cap::Literal(c) if c.directory => "a small immutable directory, held in the capability itself",
        Cap::Literal(_) => "a small file, held in the capability itself",
        Cap::Unknown(_) => "something this program does not know",
        _ => match (cap.is_mutable(), cap.is_directory()) {
            (true, true) => "a directory",
            (true, false) => "a mutable file",
            (false, true) => "an immutable directory",
            (false, false) => "an immutable file",
        },
    };
    let may = match cap.authority() {
        Authority::Write => "write it, read it, check and repair it",
        Authority::Read => "read it, check and repair it",
        Authority::Repair => "check and repair it and all below it, without reading any of it",
        Authority::Verify => "check and repair it, without reading it",
        Authority::None => "nothing here; it is kept as it is",
    };
    (thing, may)
}

/// The weaker capabilities that follow from this one, with their authority.
fn weaker(cap: &Cap) -> Vec<(Authority, Cap)> {
    let all = [cap.read(), cap.verify()].into_iter().flatten();
    all.filter(|weaker| weaker.authority() < cap.authority())
        .map(|weaker| (weaker.authority(), weaker))
        .collect()
}

/// k, N and size.
fn parameters(cap: &Cap) -> Option<(u16, u16, u64)> {
    match cap {
        Cap::ImmutableRead(c) => Some((c.needed, c.total, c.size)),
        Cap::ImmutableVerify(c) => Some((c.needed, c.total, c.size)),
        Cap::Repair(c) => match c.kind {
            caps::RepairKind::Immutable { needed, total, size, .. } => Some((needed, total, size)),
            caps::RepairKind::Slot { .. } => None,
        },
        _ => None,
    }
}

fn print(cap: &Cap) -> anyhow::Result<()> {
    let (thing, may) = describe(cap);
    say!("kind:       {}, {thing}", cap.kind())?;
    say!("authority:  {}: who holds it may {may}", cap.authority())?;
    if let Some((needed, total, size)) = parameters(cap) {
        say!("size:       {size} bytes")?;
        say!("encoding:   any {needed} of {total} shares")?;
    } else if let Some(size) = cap.size() {
        say!("size:       {size} bytes")?;
    }
    if let Some(hash) = cap.verify_hash() {
        say!("H:          {hash}")?;
    }
    if let Some(bucket) = cap.placement_bucket() {
        say!("bucket:     {bucket}")?;
    }
    for (authority, weaker) in weaker(cap) {
        say!(
            "{authority} cap:{:width$}{weaker}",
            "",
            width = 7_usize.saturating_sub(authority.to_string().len()).max(1)
        )?;
    }
    Ok(())
}

fn print_json(cap: &Cap) -> anyhow::Result<()> {
    let weaker: serde_json::Map<_, _> = weaker(cap)
        .into_iter()
        .map(|(authority, cap)| (authority.to_string(), cap.to_string().into()))
        .collect();
    let mut out = serde_json::json!({
        "kind": cap.kind(), "authority": cap.authority().to_string(), "directory": cap.is_directory(),
        "mutable": cap.is_mutable(), "size": cap.size(), "weaker": weaker,
        "hash": cap.verify_hash().map(|hash| hash.to_string()), "bucket": cap.placement_bucket().map(|bucket| bucket.0),
    });
    if let Some((needed, total, _)) = parameters(cap) {
        out["needed"] = needed.into();
        out["total"] = total.into();
    }
    say!("{out}")
}
