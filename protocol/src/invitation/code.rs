//! The code of an invitation: a channel and three words, and where it is to be used.

use std::fmt;
use std::str::FromStr;

use zeroize::Zeroizing;

use super::words::WORDS;
use crate::limits::MAX_TEXT_LEN;
use crate::random::Random;

/// Words of a code: each is worth eight bits.
const COUNT: usize = 3;
/// The highest channel.
pub(super) const CHANNEL_MAX: u16 = 999;
/// The port that an invitation means when it names none.
pub const DEFAULT_PORT: u16 = 4500;

/// A one-time code. It is a secret: `Debug` shows the channel only.
#[derive(Clone, PartialEq, Eq)]
pub struct Code {
    channel: u16,
    words: [u8; COUNT],
}

/// A code and the introducer at which it is to be used: `7-granite-lichen-oak@host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invitation {
    /// The code.
    pub code: Code,
    /// `host:port`.
    pub host: String,
}

/// Text that is no code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodeError {
    /// Not of this form.
    #[error("an invitation has the form 7-granite-lichen-oak@host:port")]
    Form,
    /// A word that is in no code. It is not shown: the rest of what was typed may be right.
    #[error("word {number} of the code is in no code: was it mistyped?")]
    Word {
        /// Which word, from 1.
        number: usize,
    },
}

impl Code {
    /// A new one on some channel.
    pub fn generate(random: &dyn Random) -> Self {
        let number = u32::from_le_bytes(random.bytes());
        // The bias is below 2^-22, and channels are no secret.
        let channel = 1 + (number % u32::from(CHANNEL_MAX)) as u16;
        Self { channel, words: random.bytes() }
    }

    /// Where both sides meet. It is no secret.
    pub fn channel(&self) -> u16 {
        self.channel
    }

    /// The code as people say it.
    pub fn to_text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(64));
        text.push_str(&self.channel.to_string());
        for word in self.words {
            text.push('-');
            text.push_str(WORDS[usize::from(word)]);
        }
        text
    }
}

impl FromStr for Code {
    type Err = CodeError;

    fn from_str(text: &str) -> Result<Self, CodeError> {
        let lower = Zeroizing::new(text.trim().to_ascii_lowercase());
        let mut parts = lower.split('-');
        let channel = parts.next().and_then(|text| text.parse().ok()).ok_or(CodeError::Form)?;
        let mut words = [0; COUNT];
        for (number, slot) in (1..).zip(&mut words) {
            let word = parts.next().ok_or(CodeError::Form)?;
            let at = WORDS.iter().position(|known| *known == word).ok_or(CodeError::Word { number })?;
            *slot = at as u8;
        }
        match parts.next().is_none() && (1..=CHANNEL_MAX).contains(&channel) {
            true => Ok(Self { channel, words }),
            false => Err(CodeError::Form),
        }
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Code({}, secret)", self.channel)
    }
}

impl FromStr for Invitation {
    type Err = CodeError;

    fn from_str(text: &str) -> Result<Self, CodeError> {
        let (code, host) = text.trim().split_once('@').ok_or(CodeError::Form)?;
        let plain = host.bytes().all(|byte| byte.is_ascii_graphic()) && host.len() <= MAX_TEXT_LEN;
        if host.is_empty() || !plain {
            return Err(CodeError::Form);
        }
        let has_port = host.rsplit_once(':').is_some_and(|(name, port)| {
            !name.is_empty() && !name.ends_with(':') && port.parse::<u16>().is_ok()
        });
        let host = if has_port { host.to_owned() } else { format!("{host}:{DEFAULT_PORT}") };
        Ok(Self { code: code.parse()?, host })
    }
}
