//! The tags of leases: for which of its reasons this account keeps something (`docs/spec/wire.md`, "Leases").

use caps::VerifyHash;

/// A lease tag.
pub(crate) type Tag = [u8; 16];

/// For the sake of the root with this H: everything that was stored by a path that begins there, or renewed from there.
pub(crate) fn root_tag(root: &VerifyHash) -> Tag {
    derived("sarsen v1 root lease tag", root.as_bytes())
}

/// For the sake of the slot with this H: the chunks and nodes that hang off it.
pub(crate) fn slot_tag(slot: &VerifyHash) -> Tag {
    derived("sarsen v1 slot lease tag", slot.as_bytes())
}

/// For the sake of the root with this H, as a repair agent keeps it: apart from the leases that a user of the same account has.
pub(crate) fn agent_tag(root: &VerifyHash) -> Tag {
    derived("sarsen v1 agent lease tag", root.as_bytes())
}

/// For the sake of no root: what was stored by itself, and whose cap somebody keeps.
pub(crate) fn loose_tag() -> Tag {
    derived("sarsen v1 loose lease tag", &[])
}

fn derived(context: &str, of: &[u8]) -> Tag {
    let tag = blake3::derive_key(context, of);
    std::array::from_fn(|i| tag[i])
}
