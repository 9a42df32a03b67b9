//! Why a string is not a capability.

/// Why a string is not a capability this grammar knows. No variant repeats the string: it may hold a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CapParseError {
    /// Longer than [`crate::MAX_CAP_LEN`] bytes.
    #[error("capability of {len} bytes is too long (the longest allowed is {max})")]
    TooLong {
        /// Bytes given.
        len: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// Does not begin with `URI:`.
    #[error("a capability begins with \"URI:\"")]
    NotACap,
    /// A character that no capability contains (blank, newline, control or non-ASCII).
    #[error("character {index} is not one that a capability may contain")]
    BadCharacter {
        /// Position of the character, in bytes.
        index: usize,
    },
    /// A known kind with the wrong number of fields.
    #[error("a {kind} capability has {expected} fields after its kind, this one has {found}")]
    FieldCount {
        /// The kind, as written (`CHK`, `DIR2-RO`, ...).
        kind: &'static str,
        /// Fields the grammar asks for.
        expected: usize,
        /// Fields found.
        found: usize,
    },
    /// A base32 field that is malformed, of the wrong length or not canonical.
    #[error("field {field} is not {bytes} bytes of canonical lower-case base32")]
    BadBase32 {
        /// Name of the field in the grammar.
        field: &'static str,
        /// Bytes it must hold; 0 when any number is allowed.
        bytes: usize,
    },
    /// A number that is empty, signed, padded with zeros or too large.
    #[error("field {field} is not a plain decimal number in range")]
    BadNumber {
        /// Name of the field in the grammar.
        field: &'static str,
    },
    /// Encoding parameters outside 1 <= k <= N <= 256.
    #[error("encoding parameters {needed}-of-{total} are not within 1 <= k <= N <= 256")]
    BadParameters {
        /// k
        needed: u64,
        /// N
        total: u64,
    },
    /// A repair cap of something that cannot be repaired.
    #[error("a repair capability names CHK, SSK, DIR2 or DIR2-CHK")]
    RepairKind,
    /// A literal longer than [`crate::MAX_LITERAL_LEN`] bytes.
    #[error("a literal holds at most {max} bytes, this one {len}")]
    LiteralTooLong {
        /// Bytes given.
        len: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// A `ro.` or `imm.` prefix before a cap that grants more than the prefix alleges.
    #[error("the prefix {prefix} promises less authority than the capability behind it carries")]
    PrefixContradicts {
        /// `ro.` or `imm.`
        prefix: &'static str,
    },
}
