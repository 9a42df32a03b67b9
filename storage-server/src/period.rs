//! Spans of time as people write them: `7d`, `12h`, `1h 30m`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{self, Deserialize, Deserializer};

/// A span of time, in whole seconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Period(pub Duration);

/// Text that is not a span of time.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{text:?} is not a span of time: write whole numbers with s, m, h, d or w, as in 7d or 1h 30m")]
pub struct PeriodError {
    text: String,
}

impl FromStr for Period {
    type Err = PeriodError;

    fn from_str(text: &str) -> Result<Self, PeriodError> {
        let parsed = humantime::parse_duration(text).ok().filter(|period| period.subsec_nanos() == 0);
        parsed.map(Self).ok_or_else(|| PeriodError { text: text.to_owned() })
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let units = [("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)];
        let whole = units.iter().find(|(_, unit)| seconds.is_multiple_of(*unit)).unwrap_or(&("s", 1));
        write!(f, "{}{}", seconds / whole.1, whole.0)
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods() {
        for (text, seconds) in [("7d", 604_800), ("90s", 90), ("1h 30m", 5400), ("2w", 1_209_600), ("0s", 0)]
        {
            let period: Period = text.parse().unwrap();
            assert_eq!(period.0.as_secs(), seconds, "{text}");
            assert_eq!(period.to_string().parse(), Ok(period), "{text}");
        }
        assert_eq!(Period(Duration::from_secs(604_800)).to_string(), "7d");
        for text in ["", "7", "d", "-1d", "10ms", "7 moons"] {
            assert!(text.parse::<Period>().is_err(), "{text}");
        }
    }
}
