//! The object format as a whole, and directories: against a slow second implementation of the code, committed vectors, damage and malice.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot make its own inputs has nothing to report but the panic"
)]

#[path = "encoding/chunker.rs"]
mod chunker;
#[path = "encoding/damage.rs"]
mod damage;
#[path = "encoding/descriptor.rs"]
mod descriptor;
#[path = "encoding/directory.rs"]
mod directory;
#[path = "encoding/erasure.rs"]
mod erasure;
#[path = "encoding/file_index.rs"]
mod file_index;
#[path = "encoding/malice.rs"]
mod malice;
#[path = "encoding/mend.rs"]
mod mend;
#[path = "encoding/sections.rs"]
mod sections;
#[path = "encoding/sizes.rs"]
mod sizes;
#[path = "encoding/slices.rs"]
mod slices;
#[path = "encoding/slot.rs"]
mod slot;
#[path = "encoding/support.rs"]
mod support;
#[path = "encoding/vectors.rs"]
mod vectors;
