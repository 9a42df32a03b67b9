//! Conditions of requests (RFC 9110, 13), and the headers of stored content.

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::{Disposition, Serve, types};

/// Stored content is somebody else's: it runs no script, loads nothing, and has no origin.
const SANDBOX: &str = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; media-src data:; form-action 'none'; base-uri 'none'";
/// A browser shows sound and films in a page of its own, which loads them once more.
const SANDBOX_MEDIA: &str = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; media-src 'self'; form-action 'none'; base-uri 'none'";
/// Browsers show PDF with a program of their own that is no part of any page, and refuse to start it in a sandbox.
const PDF: &str =
    "default-src 'none'; style-src 'unsafe-inline'; object-src 'self'; form-action 'none'; base-uri 'none'";

/// RFC 8187: what stands for itself in the name of a file.
const ATTR_CHAR: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// On what a request depends.
#[derive(Clone, Debug)]
pub(crate) struct Conditions<'a> {
    if_match: Option<&'a str>,
    if_none_match: Option<&'a str>,
    if_range: Option<&'a str>,
}

impl<'a> Conditions<'a> {
    /// Those of a request.
    pub(crate) fn of(headers: &'a HeaderMap) -> Self {
        let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        Self {
            if_match: text(header::IF_MATCH),
            if_none_match: text(header::IF_NONE_MATCH),
            if_range: text(header::IF_RANGE),
        }
    }

    /// How to refuse reading what has this tag, if at all.
    pub(crate) fn refuse(&self, tag: &str) -> Option<StatusCode> {
        if self.if_match.is_some_and(|tags| !matches_any(tags, tag)) {
            return Some(StatusCode::PRECONDITION_FAILED);
        }
        self.if_none_match.filter(|tags| matches_any(tags, tag)).map(|_| StatusCode::NOT_MODIFIED)
    }

    /// Whether changing what has this tag, or what is not there, is to be refused.
    pub(crate) fn forbids_change(&self, tag: Option<&str>) -> bool {
        let is = |tags: &str| tag.is_some_and(|tag| matches_any(tags, tag));
        self.if_match.is_some_and(|tags| !is(tags)) || self.if_none_match.is_some_and(is)
    }

    /// Whether there are any that a change depends on.
    pub(crate) fn are_there(&self) -> bool {
        self.if_match.is_some() || self.if_none_match.is_some()
    }

    /// Whether ranges are to be looked at.
    pub(super) fn allows_range(&self, tag: &str) -> bool {
        self.if_range.is_none_or(|given| given.trim() == tag)
    }
}

/// Whether one of these tags is this one, or all are meant. Our tags are strong, and one that was weakened on its way is not taken for it.
fn matches_any(tags: &str, tag: &str) -> bool {
    tags.split(',').map(str::trim).any(|given| given == "*" || given == tag)
}

/// The media type it is served as.
pub(super) fn content_type(serve: &Serve<'_>) -> HeaderValue {
    let named = serve.content_type.or_else(|| serve.name.and_then(types::of_name));
    let text = named.unwrap_or("application/octet-stream");
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("application/octet-stream"))
}

/// Sets all headers of stored content but those of its length.
pub(super) fn describe(out: &mut HeaderMap, serve: &Serve<'_>, content_type: &HeaderValue, tag: &str) {
    let kind = content_type.to_str().unwrap_or_default();
    let mut policy = match kind {
        "application/pdf" => PDF,
        kind if ["audio/", "video/", "image/"].iter().any(|class| kind.starts_with(class))
            && kind != "image/svg+xml" =>
        {
            SANDBOX_MEDIA
        }
        _ => SANDBOX,
    }
    .to_owned();
    let (ancestors, frame) = if serve.framed { ("'self'", "SAMEORIGIN") } else { ("'none'", "DENY") };
    policy.push_str("; frame-ancestors ");
    policy.push_str(ancestors);
    if let Ok(tag) = HeaderValue::from_str(tag) {
        out.insert(header::ETAG, tag);
    }
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        out.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    out.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static(frame));
    out.insert(header::CONTENT_TYPE, content_type.clone());
    out.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    // Kept by nobody but the browser, and asked for again each time: then an unchanged file costs no transfer.
    out.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    out.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    out.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    out.insert("cross-origin-resource-policy", HeaderValue::from_static("same-origin"));
    if let Some(disposition) = disposition(serve) {
        out.insert(header::CONTENT_DISPOSITION, disposition);
    }
}

/// RFC 6266. A name is given twice: as far as ASCII goes, for old programs, and whole.
pub(crate) fn disposition(serve: &Serve<'_>) -> Option<HeaderValue> {
    let kind = match serve.disposition {
        Disposition::Inline => "inline",
        Disposition::Attachment => "attachment",
    };
    let text = match serve.name {
        None if serve.disposition == Disposition::Inline => return None,
        None => kind.to_owned(),
        Some(name) => {
            let safe =
                |c: char| if c.is_ascii_graphic() && !"\"\\%;/".contains(c) || c == ' ' { c } else { '_' };
            let ascii: String = name.chars().map(safe).collect();
            let encoded = utf8_percent_encode(name, ATTR_CHAR);
            format!("{kind}; filename=\"{ascii}\"; filename*=UTF-8''{encoded}")
        }
    };
    HeaderValue::try_from(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_name_stays_within_its_quotes() {
        let serve = Serve { name: Some("a\"; x=\r\n\u{202e}ü%.txt"), ..Serve::default() };
        let value = disposition(&serve).unwrap();
        let text = value.to_str().unwrap();
        assert!(text.starts_with("inline; filename=\"a__ x=_____.txt\"; filename*=UTF-8''a%22%3B"), "{text}");
        assert!(!text.contains('\r') && text.matches('"').count() == 2, "{text}");
    }

    #[test]
    fn tags_are_compared_to_the_letter() {
        assert!(matches_any("\"a\", \"b\"", "\"b\""));
        assert!(matches_any("*", "\"b\""));
        assert!(!matches_any("W/\"b\"", "\"b\""));
        assert!(!matches_any("", "\"b\""));
    }
}
