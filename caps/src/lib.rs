//! Capability strings: the whole of the authority over a file or directory, in one line of text.
//!
//! The grammar is Tahoe-LAFS's own (16 bytes of secret, 32 bytes of verification), so that tools written for Tahoe can hold,
//! recognise and attenuate the strings; `docs/spec/caps.md` is the authority on every byte. Attenuation is offline:
//!
//! ```
//! use caps::{Authority, Cap};
//!
//! let text = "URI:CHK:aeaqcaibaeaqcaibaeaqcaibae:aibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaiba:3:10:4096";
//! let cap: Cap = text.parse()?;
//! assert_eq!(cap.authority(), Authority::Read);
//! assert!(cap.verify().unwrap().to_string().starts_with("URI:CHK-Verifier:"));
//! # Ok::<(), caps::CapParseError>(())
//! ```
//!
//! Deliberately absent: any I/O, any randomness, and what lies behind the strings (crate `encoding`). Secrets have no `Debug` that
//! shows them, are wiped when dropped and compare in constant time.

mod cap;
mod derive;
mod error;
mod keys;
mod parse;
mod repair;

pub use cap::{
    Authority, Cap, ImmutableRead, ImmutableVerify, Literal, Prefix, SlotRead, SlotVerify, SlotWrite, Unknown,
};
pub use error::CapParseError;
pub use keys::{PlacementBucket, ReadKey, StorageIndex, TraversalKey, VerifyHash, WriteKey};
pub use parse::{MAX_CAP_LEN, MAX_LITERAL_LEN, MAX_SIZE};
pub use repair::{RepairCap, RepairKind};
