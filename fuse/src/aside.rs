//! What a copy is called that is kept beside something others changed at the same time.

use std::time::Duration;

use encoding::directory::Name;

use crate::error::FsError;

/// The longest that is taken for the ending of a name, in bytes.
const ENDING_MAX: usize = 16;

/// A free name beside `name`, which says on which host what was seen when.
pub(crate) fn aside(
    name: &Name,
    host: &str,
    since_1970: Duration,
    taken: impl Fn(&Name) -> bool,
) -> Result<Name, FsError> {
    let (stem, ending) = match name.as_str().rsplit_once('.') {
        Some((stem, ending)) if !stem.is_empty() && ending.len() <= ENDING_MAX => {
            (stem, format!(".{ending}"))
        }
        _ => (name.as_str(), String::new()),
    };
    let when = date(since_1970);
    for count in 1..1000 {
        let number = if count == 1 { String::new() } else { format!(" {count}") };
        let aside = format!(" (conflict, {host} {when}{number}){ending}");
        let room = encoding::directory::MAX_NAME_LEN.saturating_sub(aside.len());
        let stem = &stem[..stem.floor_char_boundary(room)];
        let aside = Name::new(&format!("{stem}{aside}")).map_err(|_| FsError::Invalid)?;
        if !taken(&aside) {
            return Ok(aside);
        }
    }
    Err(FsError::Exists)
}

/// A moment in UTC, as names have it: no colon, which other systems do not take.
fn date(since_1970: Duration) -> String {
    let time = humantime::format_rfc3339_seconds(std::time::UNIX_EPOCH + since_1970).to_string();
    time.trim_end_matches('Z').replace('T', " ").replace(':', ".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_keeps_the_ending_and_is_named_once() {
        let name = |text: &str| Name::new(text).unwrap();
        let moment = Duration::from_secs(86_400 * 365);
        let of = |text: &str| aside(&name(text), "here", moment, |_| false).unwrap();
        assert_eq!(of("a.txt").as_str(), "a (conflict, here 1971-01-01 00.00.00).txt");
        assert_eq!(of(".profile").as_str(), ".profile (conflict, here 1971-01-01 00.00.00)");
        let first = of("a.txt");
        let second = aside(&name("a.txt"), "here", moment, |name| *name == first).unwrap();
        assert_eq!(second.as_str(), "a (conflict, here 1971-01-01 00.00.00 2).txt");
        // However long a name is, and wherever its characters end, a copy of it has one.
        let long = "ä".repeat(encoding::directory::MAX_NAME_LEN / 2);
        let beside = of(&long);
        assert!(beside.as_str().len() <= encoding::directory::MAX_NAME_LEN);
        assert!(beside.as_str().starts_with("ää") && beside.as_str().ends_with("00.00.00)"));
    }
}
