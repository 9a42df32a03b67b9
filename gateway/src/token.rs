//! The token of an installation.

use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Whoever has it may do what no cap authorises: see the aliases, store unlinked files on this account.
#[derive(Clone)]
pub struct Token(Zeroizing<String>);

impl Token {
    /// The token with this text.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// Whether this is it, in constant time.
    pub fn is(&self, given: &str) -> bool {
        self.0.as_bytes().ct_eq(given.as_bytes()).into()
    }

    /// Its text, for whoever started the gateway.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}
