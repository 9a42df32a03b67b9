//! Names of entries.

use std::fmt;

use unicode_normalization::{UnicodeNormalization, is_nfc};

/// The longest name, in bytes of UTF-8: what POSIX file systems take.
pub const MAX_NAME_LEN: usize = 255;
/// More than any text that normalises to a name: NFC shortens by at most a factor of three or so.
const MAX_INPUT_LEN: usize = 4 * MAX_NAME_LEN;

/// The name of an entry: UTF-8 in Unicode normalization form C (UAX 15), 1 to 255 bytes, without `/` and NUL, and neither `.` nor `..`.
/// Ordered by bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Box<str>);

/// Why a text is not a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// No text at all.
    #[error("a name has at least one character")]
    Empty,
    /// More than [`MAX_NAME_LEN`] bytes.
    #[error("a name has at most {MAX_NAME_LEN} bytes, this one {len}")]
    TooLong {
        /// Bytes given.
        len: usize,
    },
    /// It contains `/`.
    #[error("a name contains no \"/\"")]
    Slash,
    /// It contains the NUL character.
    #[error("a name contains no NUL character")]
    Nul,
    /// It is `.` or `..`.
    #[error("\".\" and \"..\" name directories relative to others, never an entry")]
    Dots,
    /// Stored in another form than NFC.
    #[error("a stored name is in Unicode normalization form C, this one is not")]
    NotNormalized,
}

impl Name {
    /// The name that `text` normalises to.
    ///
    /// # Errors
    ///
    /// [`NameError`], never [`NameError::NotNormalized`].
    pub fn new(text: &str) -> Result<Self, NameError> {
        if text.len() > MAX_INPUT_LEN {
            return Err(NameError::TooLong { len: text.len() });
        }
        if is_nfc(text) {
            return Self::checked(text);
        }
        Self::checked(&text.nfc().collect::<String>())
    }

    /// The name as stored, to the letter.
    ///
    /// # Errors
    ///
    /// [`NameError`].
    pub fn from_stored(text: &str) -> Result<Self, NameError> {
        let name = Self::checked(text)?;
        if is_nfc(text) { Ok(name) } else { Err(NameError::NotNormalized) }
    }

    fn checked(text: &str) -> Result<Self, NameError> {
        match text {
            "" => Err(NameError::Empty),
            "." | ".." => Err(NameError::Dots),
            _ if text.len() > MAX_NAME_LEN => Err(NameError::TooLong { len: text.len() }),
            _ if text.contains('/') => Err(NameError::Slash),
            _ if text.contains('\0') => Err(NameError::Nul),
            _ => Ok(Self(text.into())),
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Escapes, so that a hostile name cannot reach a terminal.
        write!(f, "{:?}", self.0)
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::new(text)
    }
}
