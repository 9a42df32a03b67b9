//! Section B of a tree: what lies below it, as caps that walk, check and repair, and read nothing (`docs/spec/trees.md`).

use caps::{Cap, ImmutableRead, ImmutableVerify, PlacementBucket, RepairCap, RepairKind};
use caps::{SlotRead, SlotVerify, StorageIndex, TraversalKey, VerifyHash};
use minicbor::data::Type;
use minicbor::{Decoder, Encoder};

/// The most children one section lists.
pub const MAX_CHILDREN: usize = 20_000;

/// The children of a tree.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Children {
    /// Repair caps of trees and slots, verify caps of everything else.
    pub list: Vec<Cap>,
    /// Children of kinds that the writer did not know.
    pub unknown: u64,
}

/// Why bytes are not section B.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the list of a tree's children cannot be read")]
pub struct ChildrenError;

impl From<minicbor::decode::Error> for ChildrenError {
    fn from(_: minicbor::decode::Error) -> Self {
        Self
    }
}

/// What section B lists for a child: a repair cap where the child is a tree or slot whose salt (the descriptor's, or S) is known, else its
/// verify cap; `None` for literals, which nothing stores, and for unknown kinds.
pub fn child_of(cap: &Cap, salt: Option<&[u8; 32]>) -> Option<Cap> {
    let read = cap.read()?;
    match (&read, salt) {
        (Cap::ImmutableRead(cap), Some(salt)) => Some(Cap::Repair(repair_immutable(cap, salt))),
        (Cap::SlotRead(cap), Some(salt)) => Some(Cap::Repair(repair_slot(cap, salt))),
        _ => read.verify(),
    }
}

/// The repair cap of a tree object whose descriptor has this salt.
pub fn repair_immutable(cap: &ImmutableRead, salt: &[u8; 32]) -> RepairCap {
    let (needed, total, size, directory) = (cap.needed, cap.total, cap.size, cap.directory);
    RepairCap {
        traversal_key: cap.key.traversal_key(salt),
        hash: cap.hash,
        bucket: cap.placement_bucket(),
        kind: RepairKind::Immutable { needed, total, size, directory },
    }
}

/// The repair cap of the slot whose S is `salt`.
pub fn repair_slot(cap: &SlotRead, salt: &[u8; 32]) -> RepairCap {
    RepairCap {
        traversal_key: cap.key.traversal_key(salt),
        hash: cap.hash,
        bucket: cap.key.slot_storage_index().placement_bucket(),
        kind: RepairKind::Slot { directory: cap.directory },
    }
}

impl Children {
    /// The bytes: a CBOR array of the children and the count of unknown ones.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut e = Encoder::new(&mut out);
        let written = e.array(2).and_then(|e| e.array(self.list.len() as u64));
        written.expect("writing to a Vec cannot fail");
        for cap in &self.list {
            write_child(&mut e, cap).expect("writing to a Vec cannot fail");
        }
        e.u64(self.unknown).expect("writing to a Vec cannot fail");
        out
    }

    /// Parses the bytes; nothing may follow.
    ///
    /// # Errors
    ///
    /// [`ChildrenError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ChildrenError> {
        let mut d = Decoder::new(bytes);
        let count = match d.array()? {
            Some(2) => d.array()?.ok_or(ChildrenError)?,
            _ => return Err(ChildrenError),
        };
        if count > MAX_CHILDREN as u64 {
            return Err(ChildrenError);
        }
        let (mut list, mut impossible) = (Vec::new(), 0);
        for _ in 0..count {
            let child = read_child(&mut d)?;
            if is_possible(&child) { list.push(child) } else { impossible += 1 }
        }
        let unknown = d.u64()?.saturating_add(impossible);
        if d.position() == bytes.len() { Ok(Self { list, unknown }) } else { Err(ChildrenError) }
    }
}

/// Whether there can be such an object. Another is not checked, and nobody shall think that it was.
fn is_possible(child: &Cap) -> bool {
    let (needed, total) = match child {
        Cap::ImmutableVerify(cap) => (cap.needed, cap.total),
        Cap::Repair(RepairCap { kind: RepairKind::Immutable { needed, total, .. }, .. }) => (*needed, *total),
        _ => return true,
    };
    1 <= needed && needed <= total && total <= 256
}

type Written = Result<(), minicbor::encode::Error<std::convert::Infallible>>;

fn write_child(e: &mut Encoder<&mut Vec<u8>>, cap: &Cap) -> Written {
    match cap {
        Cap::ImmutableVerify(c) => {
            e.array(7)?.u8(0)?.bytes(c.storage_index.expose())?.bytes(c.hash.as_bytes())?;
            e.u16(c.needed)?.u16(c.total)?.u64(c.size)?.bool(c.directory)?;
        }
        Cap::SlotVerify(c) => {
            e.array(4)?
                .u8(1)?
                .bytes(c.storage_index.expose())?
                .bytes(c.hash.as_bytes())?
                .bool(c.directory)?;
        }
        Cap::Repair(c) => {
            let len = if matches!(c.kind, RepairKind::Slot { .. }) { 5 } else { 8 };
            let kind = if len == 5 { 3 } else { 2 };
            e.array(len)?
                .u8(kind)?
                .bytes(c.traversal_key.expose())?
                .bytes(c.hash.as_bytes())?
                .u16(c.bucket.0)?;
            match c.kind {
                RepairKind::Immutable { needed, total, size, directory } => {
                    e.u16(needed)?.u16(total)?.u64(size)?.bool(directory)?;
                }
                RepairKind::Slot { directory } => {
                    e.bool(directory)?;
                }
            }
        }
        other => unreachable!("child_of makes no {} cap", other.kind()),
    }
    Ok(())
}

fn read_child(d: &mut Decoder<'_>) -> Result<Cap, ChildrenError> {
    let len = d.array()?.ok_or(ChildrenError)?;
    if d.datatype()? != Type::U8 {
        return Err(ChildrenError);
    }
    match (d.u8()?, len) {
        (0, 7) => {
            let (storage_index, hash) = (StorageIndex::new(fixed(d)?), VerifyHash::new(fixed(d)?));
            let (needed, total, size, directory) = (d.u16()?, d.u16()?, d.u64()?, d.bool()?);
            Ok(Cap::ImmutableVerify(ImmutableVerify { storage_index, hash, needed, total, size, directory }))
        }
        (1, 4) => {
            let (storage_index, hash) = (StorageIndex::new(fixed(d)?), VerifyHash::new(fixed(d)?));
            Ok(Cap::SlotVerify(SlotVerify { storage_index, hash, directory: d.bool()? }))
        }
        (kind @ (2 | 3), 8 | 5) if (kind == 2) == (len == 8) => {
            let (traversal_key, hash) = (TraversalKey::new(fixed(d)?), VerifyHash::new(fixed(d)?));
            let bucket = PlacementBucket(d.u16()?);
            let kind = if kind == 3 {
                RepairKind::Slot { directory: d.bool()? }
            } else {
                let (needed, total, size) = (d.u16()?, d.u16()?, d.u64()?);
                RepairKind::Immutable { needed, total, size, directory: d.bool()? }
            };
            Ok(Cap::Repair(RepairCap { traversal_key, hash, bucket, kind }))
        }
        _ => Err(ChildrenError),
    }
}

fn fixed<const N: usize>(d: &mut Decoder<'_>) -> Result<[u8; N], ChildrenError> {
    d.bytes()?.try_into().map_err(|_| ChildrenError)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_that_cannot_be_are_counted_and_not_listed() {
        let child = |needed, total| {
            Cap::ImmutableVerify(ImmutableVerify {
                storage_index: StorageIndex::new([1; 16]),
                hash: VerifyHash::new([2; 32]),
                needed,
                total,
                size: 5,
                directory: false,
            })
        };
        let list = vec![child(3, 10), child(5, 2), child(0, 0), child(1, 257)];
        let parsed = Children::parse(&Children { list, unknown: 1 }.to_bytes()).expect("it is well-formed");
        assert_eq!(parsed, Children { list: vec![child(3, 10)], unknown: 4 });
    }
}
