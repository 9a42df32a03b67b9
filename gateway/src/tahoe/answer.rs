//! Answers: text, JSON, pages, and what went wrong.

use std::convert::Infallible;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use client::check::CheckError;
use client::filestore::{DirView, FileStoreError};
use client::slot::Freshness;
use serde_json::Value;

use crate::content::Conditions;
use crate::failure::Failure;
use crate::status::RETRY_AFTER_S;
pub(super) use crate::stream::{Gone, Out as Writer};

/// What went wrong with a request.
#[derive(Debug)]
pub(super) struct Problem(pub(super) Failure);

pub(super) type Answer = Result<Response, Problem>;

impl Problem {
    pub(super) fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Self(Failure::new(status, text))
    }

    pub(super) fn bad(text: impl Into<String>) -> Self {
        Self(Failure::bad(text))
    }

    pub(super) fn exists() -> Self {
        let text = "There was already a child by that name, and you asked me to not replace it.";
        Self::new(StatusCode::CONFLICT, text)
    }
}

impl From<FileStoreError> for Problem {
    fn from(error: FileStoreError) -> Self {
        let mut failure = Failure::from(&error);
        if matches!(error, FileStoreError::NotADirectory { .. } | FileStoreError::IsADirectory { .. }) {
            // Tahoe's status for what is in the way.
            failure.status = StatusCode::CONFLICT;
        }
        failure.text = match (&error, failure.status) {
            (FileStoreError::NoEntry { path }, _) => format!("No such child: {path}"),
            // Tahoe's own first words, which programs look for.
            (FileStoreError::Download(_), StatusCode::GONE) => {
                format!("NotEnoughSharesError: {}", failure.text)
            }
            (_, StatusCode::GONE) => format!("UnrecoverableFileError: {}", failure.text),
            (FileStoreError::Refused(_), StatusCode::CONFLICT) => {
                format!(
                    "There was already a child by that name, and you asked me to not replace it: {}",
                    failure.text
                )
            }
            _ => failure.text,
        };
        Self(failure)
    }
}

impl From<CheckError> for Problem {
    fn from(error: CheckError) -> Self {
        Self(Failure::from(&error))
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Self(failure) = self;
        let mut response = text(failure.text + "\n");
        *response.status_mut() = failure.status;
        if failure.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER_S.into());
        }
        response
    }
}

pub(super) fn text(text: impl Into<String>) -> Response {
    typed(Body::from(text.into()), TEXT)
}

/// JSON as Tahoe sends it: in ASCII, since its clients refuse to print anything else.
pub(super) fn json(value: &Value) -> Response {
    typed(Body::from(json_text(value)), JSON)
}

/// The text of [`json`].
pub(super) fn json_text(value: &Value) -> String {
    ascii(&value.to_string()) + "\n"
}

/// The media type of [`json`].
pub(super) const JSON: &str = "application/json";
/// That of [`page`].
pub(super) const HTML: &str = "text/html; charset=utf-8";
/// That of [`text`].
pub(super) const TEXT: &str = "text/plain; charset=utf-8";

/// What our pages without script may load, should a name ever become markup in one: nothing.
const PAGE: &str = "default-src 'none'; script-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

pub(super) fn page(html: String) -> Response {
    typed(Body::from(html), HTML)
}

/// A small answer with a tag of what it says, and no more than that where it is known already.
pub(super) fn tagged(headers: &HeaderMap, body: String, kind: &'static str) -> Response {
    let tag = format!("\"{}\"", &blake3::hash(body.as_bytes()).to_hex()[..32]);
    known(headers, &tag).unwrap_or_else(|| with_tag(typed(Body::from(body), kind), &tag))
}

/// The answer to who knows what has this tag, or takes it for something else.
pub(super) fn known(headers: &HeaderMap, tag: &str) -> Option<Response> {
    let status = Conditions::of(headers).refuse(tag)?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    Some(with_tag(response, tag))
}

/// The tag of a directory's listing of this kind, where it may change and a quorum confirmed what it says.
pub(super) fn tag_of_listing(view: &DirView, kind: &str) -> Option<String> {
    let version = view.version().filter(|_| view.freshness() == Some(Freshness::Confirmed))?;
    // What is shown also follows from what the cap grants.
    let mut hasher = blake3::Hasher::new();
    hasher.update(&version.0).update(view.cap().to_string().as_bytes());
    Some(format!("\"{}-{kind}\"", &hasher.finalize().to_hex()[..32]))
}

/// The same with this tag.
pub(super) fn with_tag(mut response: Response, tag: &str) -> Response {
    if let Ok(tag) = HeaderValue::from_str(tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

pub(super) fn redirect(status: StatusCode, to: &str) -> Answer {
    let location = HeaderValue::from_str(to).map_err(|_| Problem::bad("that is nowhere to go on to"))?;
    let mut response = text(String::new());
    *response.status_mut() = status;
    response.headers_mut().insert(header::LOCATION, location);
    Ok(response)
}

/// An answer that `write` writes while it is read.
pub(super) fn streamed<F>(kind: &'static str, write: impl FnOnce(Writer) -> F) -> Response
where
    F: Future<Output = ()> + Send + 'static,
{
    of_type(crate::stream::answer(kind, write), kind)
}

fn typed(body: Body, kind: &'static str) -> Response {
    of_type(Response::new(body), kind)
}

fn of_type(mut response: Response, kind: &'static str) -> Response {
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    if kind == HTML {
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(PAGE));
    }
    response
}

/// The same JSON in ASCII. Other characters stand within strings only.
pub(super) fn ascii(json: &str) -> String {
    use std::fmt::Write;
    let mut out = String::with_capacity(json.len());
    for character in json.chars() {
        if (' '..='~').contains(&character) || character == '\n' {
            out.push(character);
        } else {
            let mut units = [0; 2];
            for unit in character.encode_utf16(&mut units) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        }
    }
    out
}

/// Text for a page.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // What would turn the text around it about.
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                out.push('\u{fffd}')
            }
            '\n' | '\t' => out.push(character),
            character if character.is_control() => out.push('\u{fffd}'),
            character => out.push(character),
        }
    }
    out
}

/// An answer, whatever became of it.
pub(super) fn either(answer: Answer) -> Result<Response, Infallible> {
    Ok(answer.unwrap_or_else(IntoResponse::into_response))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_ascii_and_says_the_same() {
        let value = serde_json::json!({ "ü\u{7f}\u{1f600}\"": "\u{2028}\n" });
        let text = ascii(&value.to_string());
        assert!(text.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{text}");
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
    }

    #[test]
    fn hostile_names_are_text_on_a_page() {
        let text = escaped("<script>'\"&\u{202e}\u{7}\u{61c}");
        assert_eq!(text, "&lt;script&gt;&#39;&quot;&amp;\u{fffd}\u{fffd}\u{fffd}");
    }
}
