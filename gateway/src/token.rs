//! The token of an installation.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use axum::http::{HeaderMap, header};
use protocol::Random;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// The file in the client's directory that keeps it.
pub const FILE: &str = "gateway.token";
/// Bytes of randomness in it.
const LEN: usize = 32;
/// The longest text read from the file.
const MAX_LEN: u64 = 1024;

/// Whoever has it may do what no cap authorises: see the aliases, store unlinked files on this account.
#[derive(Clone)]
pub struct Token(Zeroizing<String>);

impl Token {
    /// The token with this text.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The token that this file keeps. It is made where there is none yet, for its owner's eyes only.
    ///
    /// # Errors
    ///
    /// The file cannot be read or made, or holds less than a token.
    pub fn of_file(path: &Path, random: &dyn Random) -> io::Result<Self> {
        match fs::metadata(path) {
            Ok(found) if found.len() > MAX_LEN => Err(io::ErrorKind::InvalidData.into()),
            Ok(_) => {
                let text = Zeroizing::new(fs::read_to_string(path)?);
                let text = text.trim();
                // An emptied file must not let everybody in.
                if text.len() < LEN {
                    return Err(io::Error::new(
                        io::ErrorKind::InvalidData,
                        "it holds no token; remove it to get a new one",
                    ));
                }
                Ok(Self::new(text.to_owned()))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::make(path, random),
            Err(error) => Err(error),
        }
    }

    fn make(path: &Path, random: &dyn Random) -> io::Result<Self> {
        let mut bytes = Zeroizing::new([0; LEN]);
        random.fill(&mut *bytes);
        let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let token = Self::new(text);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        writeln!(file, "{}", token.reveal())?;
        file.sync_all()?;
        Ok(token)
    }

    /// Whether this is it, in constant time.
    pub fn is(&self, given: &str) -> bool {
        !self.0.is_empty() && bool::from(self.0.as_bytes().ct_eq(given.as_bytes()))
    }

    /// Whether a request carries it: `Authorization: Bearer TOKEN`.
    pub fn is_in(&self, headers: &HeaderMap) -> bool {
        let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let given = value.and_then(|value| value.split_once(' '));
        given.is_some_and(|(scheme, text)| scheme.eq_ignore_ascii_case("bearer") && self.is(text.trim()))
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn the_same_token_is_found_again_and_only_by_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        let made = Token::of_file(&path, &protocol::OsRandom).unwrap();
        assert_eq!(made.reveal().len(), 64);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(Token::of_file(&path, &protocol::OsRandom).unwrap().is(made.reveal()));
        let other = Token::of_file(&dir.path().join("other"), &protocol::OsRandom).unwrap();
        assert!(!made.is(other.reveal()));
        fs::write(&path, "").unwrap();
        assert!(Token::of_file(&path, &protocol::OsRandom).is_err(), "an empty file is no token");
    }

    #[test]
    fn a_token_is_taken_from_its_header_only() {
        let token = Token::new("a".repeat(64));
        let with = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, HeaderValue::from_str(text).unwrap());
            token.is_in(&headers)
        };
        assert!(with(&format!("Bearer {}", "a".repeat(64))));
        assert!(!with(&"a".repeat(64)) && !with("Bearer ") && !with(&format!("Basic {}", "a".repeat(64))));
        assert!(!token.is_in(&HeaderMap::new()));
        assert!(!Token::new(String::new()).is(""), "no token is nobody's");
    }
}
