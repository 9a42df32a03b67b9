//! The file store: directories and mutable files on slots and trees.
//!
//! A [`DirView`] is a directory as it was read; [`crate::Client::edit_directory`] changes one. Changes that one process makes to a directory at
//! the same time travel together, in one round. What the change finds there decides what becomes of it: edits of different names merge,
//! edits of the same name obey their [`Replace`].

mod child;
mod edit;
mod error;
mod guess;
mod join;
mod make;
mod mutable;
mod nodes;
mod opened;
mod resolve;
mod trace;
mod view;
mod walk;

pub use child::Child;
pub(crate) use edit::time_of;
pub use edit::{DirEdit, Edited, Refusal, Replace};
pub use error::FileStoreError;
pub use guess::LikelyPlace;
pub(crate) use join::Queues;
pub use mutable::{FileView, GAP_MAX, MutableEdit};
pub(crate) use nodes::NodeCache;
pub(crate) use opened::OpenedSlots;
pub use resolve::{Place, Target};
pub use view::{DirEntries, DirView};
pub use walk::{Walk, Walked};

/// Directories below each other that are followed: more than any tree has that people make.
pub const MAX_DEPTH: usize = 1024;
