//! The tree of a large directory, over whatever keeps its nodes (`docs/spec/directories.md`).
//!
//! [`Tree`] is functional: [`Tree::apply`] leaves the old tree as it was and stores only the nodes on the way to what changed;
//! [`Tree::build`] makes one from sorted entries, the same nodes for the same entries; [`Tree::entries`] streams in order with
//! read-ahead; [`diff`] skips what two trees share. Nodes come from anybody who may write the directory, so each is held against its
//! place: level, order, range of names, number of entries.
//!
//! Deliberately absent: where nodes are kept ([`NodeStore`]), and the slot above the root.

mod apply;
mod build;
mod changes;
mod concurrent;
mod entries;
mod error;
mod split;
mod tree;

pub use changes::{Change, Diff, diff, diff_all};
pub use entries::Entries;
pub use error::TreeError;
pub use tree::{NodeStore, Tree};
