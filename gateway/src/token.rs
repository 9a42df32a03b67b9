//! The token of an installation.

use std::fmt;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
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

/// Who besides its owner could use the file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Openness {
    /// Its group.
    Group,
    /// Everybody.
    All,
}

/// Whoever has it may do what no cap authorises: see the aliases, store unlinked files on this account.
#[derive(Clone)]
pub struct Token(Zeroizing<String>);

impl Token {
    /// The token with this text.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The token that this file keeps. It is made where there is none yet, for its owner's eyes only. Where others could use it, says to
    /// whom it was open; it is not any more. What everybody could read is no secret: a new one is made.
    ///
    /// # Errors
    ///
    /// The file cannot be read or made, or holds less than a token.
    pub fn of_file(path: &Path, random: &dyn Random) -> io::Result<(Self, Option<Openness>)> {
        let file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok((Self::make(path, random)?, None));
            }
            file => file?,
        };
        let mode = file.metadata()?.permissions().mode();
        let openness = match (mode & 0o006, mode & 0o060) {
            (0, 0) => None,
            (0, _) => Some(Openness::Group),
            _ => Some(Openness::All),
        };
        if openness == Some(Openness::All) {
            fs::remove_file(path)?;
            return Ok((Self::make(path, random)?, openness));
        }
        if openness.is_some() {
            file.set_permissions(Permissions::from_mode(0o600))?;
        }
        Ok((Self::read(file)?, openness))
    }

    /// The token that this file keeps, and nothing else.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or holds less than a token.
    pub fn kept(path: &Path) -> io::Result<Self> {
        Self::read(File::open(path)?)
    }

    fn read(file: File) -> io::Result<Self> {
        let mut text = Zeroizing::new(String::with_capacity(MAX_LEN as usize + 1));
        file.take(MAX_LEN + 1).read_to_string(&mut text)?;
        if text.len() as u64 > MAX_LEN {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it is too long for a token"));
        }
        let text = text.trim();
        // An emptied file must not let everybody in.
        if text.len() < LEN {
            let why = "it holds no token; remove it to get a new one";
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        Ok(Self::new(text.to_owned()))
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
        let of_file = |path: &Path| Token::of_file(path, &protocol::OsRandom);
        let made = of_file(&path).unwrap().0;
        assert_eq!(made.reveal().len(), 64);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(of_file(&path).unwrap().0.is(made.reveal()) && Token::kept(&path).unwrap().is(made.reveal()));
        let other = of_file(&dir.path().join("other")).unwrap().0;
        assert!(!made.is(other.reveal()));
        fs::write(&path, "").unwrap();
        assert!(of_file(&path).is_err() && Token::kept(&path).is_err(), "an empty file is no token");
    }

    #[test]
    fn a_token_that_others_could_use_is_theirs_no_longer() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        let of_file = || Token::of_file(&path, &protocol::OsRandom).unwrap();
        let (made, openness) = of_file();
        assert_eq!(openness, None);
        for (mode, wanted) in [
            (0o640, Openness::Group),
            (0o660, Openness::Group),
            (0o604, Openness::All),
            (0o644, Openness::All),
            (0o602, Openness::All),
        ] {
            let before = Token::kept(&path).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let (now, openness) = of_file();
            assert_eq!(openness, Some(wanted), "{mode:o}");
            assert_eq!(now.is(before.reveal()), wanted == Openness::Group, "{mode:o}");
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            assert_eq!(of_file().1, None);
        }
        assert!(!of_file().0.is(made.reveal()));
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
