//! Which bytes of a mutable file a request writes: `offset=`, or `Content-Range` of a PUT (RFC 9110, sections 14.4 and 14.5).

use axum::http::{HeaderMap, Method, header};

use super::answer::Problem;
use super::linked::Call;

/// A part of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Span {
    /// Its first byte.
    pub(super) at: u64,
    /// Its length, where the request says so.
    pub(super) len: Option<u64>,
}

impl Span {
    /// The part that a request writes; nothing, if it writes all of a file.
    pub(super) fn of(call: &Call) -> Result<Option<Self>, Problem> {
        let offset = call.args.offset()?.map(|at| Self { at, len: None });
        let range = match call.method {
            Method::PUT => content_range(&call.headers)?,
            // Elsewhere it has no meaning.
            _ => None,
        };
        if offset.is_some() && range.is_some() {
            return Err(Problem::bad("offset= and Content-Range are two answers to one question"));
        }
        Ok(offset.or(range))
    }

    /// Holds the length of a body against it.
    pub(super) fn check(&self, len: u64) -> Result<(), Problem> {
        match self.len.is_none_or(|own| own == len) {
            true => Ok(()),
            false => Err(Problem::bad("the body is not as long as its Content-Range says")),
        }
    }
}

fn content_range(headers: &HeaderMap) -> Result<Option<Span>, Problem> {
    let mut given = headers.get_all(header::CONTENT_RANGE).iter();
    let Some(value) = given.next() else { return Ok(None) };
    let span = value.to_str().ok().filter(|_| given.next().is_none()).and_then(parse);
    span.map(Some).ok_or_else(|| Problem::bad("Content-Range is not of the form bytes FIRST-LAST/*"))
}

fn parse(text: &str) -> Option<Span> {
    let (unit, rest) = text.trim().split_once(' ')?;
    let (range, all) = rest.trim().split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last) = (number(first)?, number(last)?);
    let fits = all == "*" || number(all)? > last;
    let len = last.checked_sub(first)?.checked_add(1)?;
    (unit.eq_ignore_ascii_case("bytes") && fits).then_some(Span { at: first, len: Some(len) })
}

fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_range_is_read_strictly() {
        let span = |at, len| Some(Span { at, len: Some(len) });
        assert_eq!(parse("bytes 0-0/*"), span(0, 1));
        assert_eq!(parse("bytes 7-19/20"), span(7, 13));
        for bad in [
            "bytes 7-6/*",
            "bytes */20",
            "bytes 7-19/19",
            "bytes 7-/*",
            "bytes -7/*",
            "bytes +7-9/*",
            "items 7-19/*",
            "bytes=7-19/*",
            "bytes 7-19",
            "bytes 0-18446744073709551615/*",
            "bytes 0-18446744073709551616/*",
            "",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
