//! Sizes and ranges as people write them.

use std::ops::Range;
use std::str::FromStr;

/// A number of bytes: `50G` is 50 * 10^9, `50GiB` is 50 * 2^30, `50` is 50.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Size(pub(crate) u64);

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse::<storage_server::size::Size>().map(|size| Self(size.0)).map_err(|error| error.to_string())
    }
}

/// A number of things: `1 share`, `2 shares`.
pub(crate) fn plural(count: u64, thing: &str) -> String {
    format!("{count} {thing}{}", if count == 1 { "" } else { "s" })
}

/// A number of objects and slots, as people call them.
pub(crate) fn things(count: u64) -> String {
    match count {
        1 => "1 object or directory".to_owned(),
        _ => format!("{count} objects and directories"),
    }
}

/// What `find --size` asks for: `+N` for more than N bytes, `-N` for less, `N` for exactly so many.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SizeTest {
    wanted: std::cmp::Ordering,
    bytes: u64,
}

impl SizeTest {
    /// Whether a file of this size is meant.
    pub(crate) fn holds(&self, bytes: u64) -> bool {
        bytes.cmp(&self.bytes) == self.wanted
    }
}

impl FromStr for SizeTest {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        use std::cmp::Ordering;
        let (wanted, number) = match (text.strip_prefix('+'), text.strip_prefix('-')) {
            (Some(number), _) => (Ordering::Greater, number),
            (_, Some(number)) => (Ordering::Less, number),
            _ => (Ordering::Equal, text),
        };
        Ok(Self { wanted, bytes: number.parse::<Size>()?.0 })
    }
}

/// A range of bytes, `START-END`, both ends included.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ByteRange(pub(crate) Range<u64>);

impl FromStr for ByteRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = |text: &str| text.parse::<u64>().ok();
        let ends = text.split_once('-').and_then(|(start, end)| Some((parse(start)?, parse(end)?)));
        match ends {
            Some((start, end)) if start <= end && end < u64::MAX => Ok(Self(start..end + 1)),
            _ => Err("a range is START-END in bytes, both ends included, START not above END".into()),
        }
    }
}

/// A number of bytes for people: `1.2 GB`.
pub(crate) fn human(bytes: u64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB", "PB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", units[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_singular() {
        assert_eq!([0, 1, 2].map(|count| plural(count, "share")), ["0 shares", "1 share", "2 shares"]);
        assert_eq!(
            (things(1), things(2)),
            ("1 object or directory".into(), "2 objects and directories".into())
        );
    }

    #[test]
    fn ranges_include_both_ends() {
        assert_eq!("0-0".parse(), Ok(ByteRange(0..1)));
        assert_eq!("5-9".parse(), Ok(ByteRange(5..10)));
        for bad in ["", "5", "9-5", "-5", "5-", "a-b", "0-18446744073709551615"] {
            assert!(bad.parse::<ByteRange>().is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_to_find() {
        let holds = |test: &str| [9, 10, 11].map(|bytes| test.parse::<SizeTest>().unwrap().holds(bytes));
        assert_eq!(holds("+10"), [false, false, true]);
        assert_eq!(holds("-10"), [true, false, false]);
        assert_eq!(holds("10"), [false, true, false]);
        assert!("+".parse::<SizeTest>().is_err() && "+-3".parse::<SizeTest>().is_err());
    }

    #[test]
    fn sizes_for_people() {
        assert_eq!(human(999), "999 B");
        assert_eq!(human(1_500_000), "1.5 MB");
    }
}
