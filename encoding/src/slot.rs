//! Slots: the signed record, its ballot, the members it names, and what counts as a quorum of them (`docs/spec/slots.md`).

mod ballot;
mod keys;
mod quorum;
mod record;

pub use ballot::{Ballot, MAX_COUNTER_JUMP};
pub use keys::{SlotId, SlotKey};
pub use quorum::{Config, ConfigError, MAX_MEMBERS, Member, usual_quorum};
pub use record::{MAX_RECORD_LEN, Promise, Record, RecordError, RecordHash, SignedRecord, UncheckedRecord};
