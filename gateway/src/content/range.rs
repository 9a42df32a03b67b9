//! The Range header (RFC 9110, 14.2).

use std::ops::Range;

use axum::http::HeaderValue;

/// Ranges served in one answer. More, or ranges that overlap, are a way to have much work done for little: then all of it is sent.
const MAX_RANGES: usize = 32;

/// What of a file is wanted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Wanted {
    /// All of it.
    All,
    /// One range, within the file and not empty.
    One(Range<u64>),
    /// Several such, none overlapping another.
    Several(Vec<Range<u64>>),
    /// Ranges of which none lies within the file.
    Unsatisfiable,
}

/// What this header wants of a file of `size` bytes. What is no header of ranges of bytes is as good as none.
pub(super) fn wanted(header: Option<&HeaderValue>, size: u64) -> Wanted {
    let Some(specs) =
        header.and_then(|value| value.to_str().ok()).and_then(|text| text.strip_prefix("bytes="))
    else {
        return Wanted::All;
    };
    let mut ranges = Vec::new();
    for (count, spec) in specs.split(',').map(str::trim).filter(|spec| !spec.is_empty()).enumerate() {
        if count >= MAX_RANGES {
            return Wanted::All;
        }
        match one(spec, size) {
            Some(range) => ranges.extend(range),
            None => return Wanted::All,
        }
    }
    let mut sorted = ranges.clone();
    sorted.sort_by_key(|range| range.start);
    if sorted.windows(2).any(|pair| pair[0].end > pair[1].start) {
        return Wanted::All;
    }
    match ranges.len() {
        0 => Wanted::Unsatisfiable,
        1 => Wanted::One(ranges.remove(0)),
        _ => Wanted::Several(ranges),
    }
}

/// One range; `Some(None)` where nothing of it lies within the file, `None` where it is none.
fn one(spec: &str, size: u64) -> Option<Option<Range<u64>>> {
    let (first, last) = spec.split_once('-')?;
    let number = |text: &str| match text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty() {
        // More digits than a number holds is past every end.
        true => Some(text.parse().unwrap_or(u64::MAX)),
        false => None,
    };
    if first.is_empty() {
        let len: u64 = number(last)?;
        let range = size.saturating_sub(len)..size;
        return Some((!range.is_empty()).then_some(range));
    }
    let first: u64 = number(first)?;
    let end = match last {
        "" => size,
        last => {
            let last: u64 = number(last)?;
            if last < first {
                return None;
            }
            last.saturating_add(1).min(size)
        }
    };
    Some((first < end).then_some(first..end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_the_standard_says() {
        let cases = [
            ("bytes=0-0", Wanted::One(0..1)),
            ("bytes=2-", Wanted::One(2..10)),
            ("bytes=2-99", Wanted::One(2..10)),
            ("bytes=-3", Wanted::One(7..10)),
            ("bytes=-99", Wanted::One(0..10)),
            ("bytes=0-1, 4-5", Wanted::Several(vec![0..2, 4..6])),
            ("bytes=8-9,0-1", Wanted::Several(vec![8..10, 0..2])),
            ("bytes=0-1,99-", Wanted::One(0..2)),
            ("bytes=10-", Wanted::Unsatisfiable),
            ("bytes=-0", Wanted::Unsatisfiable),
            ("bytes=99999999999999999999999-", Wanted::Unsatisfiable),
            ("bytes=0-5,3-8", Wanted::All),
            ("bytes=5-2", Wanted::All),
            ("bytes=a-2", Wanted::All),
            ("bytes=+1-2", Wanted::All),
            ("lines=1-2", Wanted::All),
        ];
        for (text, expected) in cases {
            assert_eq!(wanted(Some(&HeaderValue::from_static(text)), 10), expected, "{text}");
        }
        assert_eq!(wanted(None, 10), Wanted::All);
        let many = format!("bytes={}", (0..33).map(|n| format!("{n}-{n}")).collect::<Vec<_>>().join(","));
        assert_eq!(wanted(Some(&HeaderValue::from_str(&many).unwrap()), 100), Wanted::All);
        assert_eq!(wanted(Some(&HeaderValue::from_static("bytes=0-")), 0), Wanted::Unsatisfiable);
    }
}
