//! From strings to capabilities, strictly: what this accepts, it prints back to the letter (`docs/spec/caps.md`).

use std::str::FromStr;

use zeroize::Zeroizing;

use crate::cap::{
    Authority, Cap, ImmutableRead, ImmutableVerify, Literal, Prefix, SlotRead, SlotVerify, SlotWrite, Unknown,
};
use crate::error::CapParseError;
use crate::keys::{PlacementBucket, ReadKey, StorageIndex, TraversalKey, VerifyHash, WriteKey, base32};
use crate::repair::{RepairCap, RepairKind};

/// The longest capability read, in bytes. Unknown kinds must fit too.
pub const MAX_CAP_LEN: usize = 1024;
/// The most bytes a literal holds.
pub const MAX_LITERAL_LEN: usize = 55;
/// The largest file size a cap may state, in bytes: 2^60, so that no sum of sizes overflows.
pub const MAX_SIZE: u64 = 1 << 60;

impl FromStr for Cap {
    type Err = CapParseError;

    /// Parses one capability, with nothing before or after it. `MDMF` kinds become their `SSK` twins. A well-formed `URI:` of an
    /// unknown kind becomes [`Cap::Unknown`].
    ///
    /// # Errors
    ///
    /// [`CapParseError`] for anything else, and for a known kind that is malformed in any way.
    fn from_str(text: &str) -> Result<Self, CapParseError> {
        if text.len() > MAX_CAP_LEN {
            return Err(CapParseError::TooLong { len: text.len(), max: MAX_CAP_LEN });
        }
        if let Some(index) = text.bytes().position(|b| !b.is_ascii_graphic()) {
            return Err(CapParseError::BadCharacter { index });
        }
        let (prefix, rest) = split_prefix(text);
        let body = rest.strip_prefix("URI:").ok_or(CapParseError::NotACap)?;
        let Some(cap) = parse_known(body)? else {
            return Ok(Self::Unknown(Unknown { text: rest.to_owned(), prefix }));
        };
        check_prefix(prefix, &cap)?;
        Ok(cap)
    }
}

fn split_prefix(text: &str) -> (Option<Prefix>, &str) {
    for prefix in [Prefix::ReadOnly, Prefix::Immutable] {
        if let Some(rest) = text.strip_prefix(prefix.as_str()) {
            return (Some(prefix), rest);
        }
    }
    (None, text)
}

/// A prefix may only repeat what the cap says of itself; it is then dropped.
fn check_prefix(prefix: Option<Prefix>, cap: &Cap) -> Result<(), CapParseError> {
    let contradicts = match prefix {
        None => false,
        Some(Prefix::ReadOnly) => cap.authority() == Authority::Write,
        Some(Prefix::Immutable) => cap.is_mutable(),
    };
    match prefix {
        Some(prefix) if contradicts => Err(CapParseError::PrefixContradicts { prefix: prefix.as_str() }),
        _ => Ok(()),
    }
}

fn parse_known(body: &str) -> Result<Option<Cap>, CapParseError> {
    let (kind, rest) = body.split_once(':').unwrap_or((body, ""));
    let fields: Vec<&str> = if body.contains(':') { rest.split(':').collect() } else { Vec::new() };
    let cap = match kind {
        "LIT" => literal("LIT", &fields, false)?,
        "DIR2-LIT" => literal("DIR2-LIT", &fields, true)?,
        "CHK" => immutable_read("CHK", &fields, false)?,
        "DIR2-CHK" => immutable_read("DIR2-CHK", &fields, true)?,
        "CHK-Verifier" => immutable_verify("CHK-Verifier", &fields, false)?,
        "DIR2-CHK-Verifier" => immutable_verify("DIR2-CHK-Verifier", &fields, true)?,
        "SSK" => slot_write(&slot_fields("SSK", &fields, false)?, false)?,
        "SSK-RO" => slot_read(&slot_fields("SSK-RO", &fields, false)?, false)?,
        "SSK-Verifier" => slot_verify(&slot_fields("SSK-Verifier", &fields, false)?, false)?,
        "DIR2" => slot_write(&slot_fields("DIR2", &fields, false)?, true)?,
        "DIR2-RO" => slot_read(&slot_fields("DIR2-RO", &fields, false)?, true)?,
        "DIR2-Verifier" => slot_verify(&slot_fields("DIR2-Verifier", &fields, false)?, true)?,
        "MDMF" => slot_write(&slot_fields("MDMF", &fields, true)?, false)?,
        "MDMF-RO" => slot_read(&slot_fields("MDMF-RO", &fields, true)?, false)?,
        "MDMF-Verifier" => slot_verify(&slot_fields("MDMF-Verifier", &fields, true)?, false)?,
        "DIR2-MDMF" => slot_write(&slot_fields("DIR2-MDMF", &fields, true)?, true)?,
        "DIR2-MDMF-RO" => slot_read(&slot_fields("DIR2-MDMF-RO", &fields, true)?, true)?,
        "DIR2-MDMF-Verifier" => slot_verify(&slot_fields("DIR2-MDMF-Verifier", &fields, true)?, true)?,
        "SARSEN-REPAIR" => repair(&fields)?,
        _ => return Ok(None),
    };
    Ok(Some(cap))
}

fn literal(kind: &'static str, fields: &[&str], directory: bool) -> Result<Cap, CapParseError> {
    let [text] = exactly(kind, fields)?;
    let bytes = base32()
        .decode(text.as_bytes())
        .map_err(|_| CapParseError::BadBase32 { field: "content", bytes: 0 })?;
    if bytes.len() > MAX_LITERAL_LEN {
        return Err(CapParseError::LiteralTooLong { len: bytes.len(), max: MAX_LITERAL_LEN });
    }
    Ok(Cap::Literal(Literal { bytes, directory }))
}

fn immutable_read(kind: &'static str, fields: &[&str], directory: bool) -> Result<Cap, CapParseError> {
    let [key, hash, needed, total, size] = exactly(kind, fields)?;
    let (key, hash) = (ReadKey::new(bytes("key", key)?), VerifyHash::new(bytes("verify hash", hash)?));
    let (needed, total, size) = parameters(needed, total, size)?;
    Ok(Cap::ImmutableRead(ImmutableRead { key, hash, needed, total, size, directory }))
}

fn immutable_verify(kind: &'static str, fields: &[&str], directory: bool) -> Result<Cap, CapParseError> {
    let [index, hash, needed, total, size] = exactly(kind, fields)?;
    let storage_index = StorageIndex::new(bytes("storage index", index)?);
    let hash = VerifyHash::new(bytes("verify hash", hash)?);
    let (needed, total, size) = parameters(needed, total, size)?;
    Ok(Cap::ImmutableVerify(ImmutableVerify { storage_index, hash, needed, total, size, directory }))
}

/// The two fields of a slot cap. `MDMF` caps may carry a hint after them, which Tahoe itself ignores.
fn slot_fields<'a>(
    kind: &'static str,
    fields: &[&'a str],
    hint: bool,
) -> Result<[&'a str; 2], CapParseError> {
    let fields = if hint && fields.len() > 2 { &fields[..2] } else { fields };
    exactly(kind, fields)
}

fn slot_write(fields: &[&str; 2], directory: bool) -> Result<Cap, CapParseError> {
    let (key, hash) =
        (WriteKey::new(bytes("key", fields[0])?), VerifyHash::new(bytes("verify hash", fields[1])?));
    Ok(Cap::SlotWrite(SlotWrite { key, hash, directory }))
}

fn slot_read(fields: &[&str; 2], directory: bool) -> Result<Cap, CapParseError> {
    let (key, hash) =
        (ReadKey::new(bytes("key", fields[0])?), VerifyHash::new(bytes("verify hash", fields[1])?));
    Ok(Cap::SlotRead(SlotRead { key, hash, directory }))
}

fn slot_verify(fields: &[&str; 2], directory: bool) -> Result<Cap, CapParseError> {
    let storage_index = StorageIndex::new(bytes("storage index", fields[0])?);
    let hash = VerifyHash::new(bytes("verify hash", fields[1])?);
    Ok(Cap::SlotVerify(SlotVerify { storage_index, hash, directory }))
}

fn repair(fields: &[&str]) -> Result<Cap, CapParseError> {
    const KIND: &str = "SARSEN-REPAIR";
    let [key, hash, bucket, what, rest @ ..] = fields else {
        return Err(CapParseError::FieldCount { kind: KIND, expected: 4, found: fields.len() });
    };
    let directory = what.starts_with("DIR2");
    let kind = match *what {
        "CHK" | "DIR2-CHK" => {
            let [needed, total, size] = exactly(KIND, rest)?;
            let (needed, total, size) = parameters(needed, total, size)?;
            RepairKind::Immutable { needed, total, size, directory }
        }
        "SSK" | "DIR2" => {
            let [] = exactly(KIND, rest)?;
            RepairKind::Slot { directory }
        }
        _ => return Err(CapParseError::RepairKind),
    };
    let bucket = u16::try_from(number("placement bucket", bucket)?)
        .map_err(|_| CapParseError::BadNumber { field: "placement bucket" })?;
    Ok(Cap::Repair(RepairCap {
        traversal_key: TraversalKey::new(bytes("traversal key", key)?),
        hash: VerifyHash::new(bytes("verify hash", hash)?),
        bucket: PlacementBucket(bucket),
        kind,
    }))
}

fn exactly<'a, const N: usize>(
    kind: &'static str,
    fields: &[&'a str],
) -> Result<[&'a str; N], CapParseError> {
    fields.try_into().map_err(|_| CapParseError::FieldCount { kind, expected: N, found: fields.len() })
}

fn bytes<const N: usize>(field: &'static str, text: &str) -> Result<[u8; N], CapParseError> {
    let bad = CapParseError::BadBase32 { field, bytes: N };
    let decoded = Zeroizing::new(base32().decode(text.as_bytes()).map_err(|_| bad.clone())?);
    decoded.as_slice().try_into().map_err(|_| bad)
}

fn parameters(needed: &str, total: &str, size: &str) -> Result<(u16, u16, u64), CapParseError> {
    let (needed, total) = (number("k", needed)?, number("N", total)?);
    let size = number("size", size)?;
    if size > MAX_SIZE {
        return Err(CapParseError::BadNumber { field: "size" });
    }
    match (u16::try_from(needed), u16::try_from(total)) {
        (Ok(k), Ok(n)) if (1..=n).contains(&k) && n <= 256 => Ok((k, n, size)),
        _ => Err(CapParseError::BadParameters { needed, total }),
    }
}

fn number(field: &'static str, text: &str) -> Result<u64, CapParseError> {
    let plain = !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_digit())
        && (text == "0" || !text.starts_with('0'));
    let value = if plain { text.parse().ok() } else { None };
    value.ok_or(CapParseError::BadNumber { field })
}
