//! What is wrong with a tree.

/// A node that does not fit its place, or a change that no tree can take. The node's own bytes were in order.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TreeError {
    /// A node is at another level than its parent says.
    #[error("a node of the directory is at level {found}, where its parent says {expected}")]
    WrongLevel {
        /// One below the parent's.
        expected: u8,
        /// The node's.
        found: u8,
    },
    /// More levels than a tree has.
    #[error("the directory's tree is deeper than any should be")]
    TooDeep,
    /// Names in a node, or those given for a new tree, do not ascend.
    #[error("names of the directory are not in ascending order, or one stands twice")]
    Unordered,
    /// A node has names that belong elsewhere.
    #[error("a node of the directory has names outside the range that its parent gives it")]
    OutOfRange,
    /// A node has more or fewer entries below it than its parent says.
    #[error("a node of the directory has {found} entries below it, where its parent says {expected}")]
    CountMismatch {
        /// What the parent says.
        expected: u64,
        /// What the node says.
        found: u64,
    },
    /// A node without entries or children.
    #[error("a node of the directory is empty")]
    Empty,
}
