//! Directories so small that their cap holds them.

use caps::{Literal, MAX_LITERAL_LEN};

use super::Mutability;
use super::entry::Entry;
use super::error::DirectoryError;
use super::name::Name;
use super::node::Node;

/// The immutable directory with these entries as a literal, where it fits into one: the empty directory always does. The
/// entries ascend by name and passed [`Entry::check`].
pub fn literal_directory(entries: &[(Name, Entry)]) -> Option<Literal> {
    // Each entry takes more than two bytes, so a long list is not even encoded.
    if entries.len() > MAX_LITERAL_LEN {
        return None;
    }
    let bytes = Node::Leaf(entries.to_vec()).to_bytes();
    (bytes.len() <= MAX_LITERAL_LEN).then_some(Literal { bytes, directory: true })
}

/// The entries of a literal directory.
///
/// # Errors
///
/// [`DirectoryError`]; [`DirectoryError::NotADirectory`] where it is a file.
pub fn open_literal(literal: &Literal) -> Result<Vec<(Name, Entry)>, DirectoryError> {
    if !literal.directory {
        return Err(DirectoryError::NotADirectory);
    }
    match Node::parse_bytes(&literal.bytes, Mutability::Immutable)? {
        Node::Leaf(entries) => Ok(entries),
        Node::Inner { level, .. } => Err(DirectoryError::Level { level: level.into() }),
    }
}
