//! The web page, served from the binary. It asks nobody else for anything, and holds no data: what it shows comes from [`crate::api`].
//! What it may load is said by [`crate::guard`], as on every answer.

use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::Gateway;

/// A file of the page.
struct Part {
    name: &'static str,
    data: &'static [u8],
}

macro_rules! parts {
    ($($name:literal),* $(,)?) => {
        &[$(Part { name: $name, data: include_bytes!(concat!("../ui/", $name)) }),*]
    };
}

/// All of them, in the order of their names.
static PARTS: &[Part] = parts![
    "actions.js",
    "api.js",
    "app.js",
    "asking.js",
    "base.css",
    "changes.js",
    "crumbs.js",
    "deeds.js",
    "dialogs.css",
    "dialogs.js",
    "dom.js",
    "dragging.js",
    "dropzone.js",
    "files.css",
    "files.js",
    "format.js",
    "grid.css",
    "gridpage.js",
    "health.js",
    "icon.svg",
    "icons.js",
    "index.html",
    "keys.js",
    "kinds.js",
    "list.js",
    "listing.js",
    "live.js",
    "mapmodel.js",
    "picker.js",
    "pieces.js",
    "preview.js",
    "router.js",
    "search.js",
    "selection.js",
    "session.js",
    "share.js",
    "sharemap.js",
    "single.js",
    "start.js",
    "theme.js",
    "toast.js",
    "toolbar.js",
    "topbar.js",
    "upload/drop.js",
    "upload/panel.js",
    "upload/queue.js",
    "upload/tus.js",
];

/// The strong validator of each, in the same order: the hash of what it holds.
static TAGS: LazyLock<Vec<HeaderValue>> = LazyLock::new(|| {
    let tag = |part: &Part| format!("\"{}\"", blake3::hash(part.data).to_hex());
    PARTS.iter().map(|part| HeaderValue::try_from(tag(part)).expect("hexadecimal digits")).collect()
});

/// Its routes.
pub fn routes() -> Router<Arc<Gateway>> {
    Router::new()
        .route(
            "/",
            get(|method: Method, headers: HeaderMap| async move { serve("index.html", &method, &headers) }),
        )
        .route(
            "/ui/{*name}",
            get(|Path(name): Path<String>, method: Method, headers: HeaderMap| async move {
                serve(&name, &method, &headers)
            }),
        )
}

fn serve(name: &str, method: &Method, headers: &HeaderMap) -> Response {
    let Ok(at) = PARTS.binary_search_by(|part| part.name.cmp(name)) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let tag = TAGS[at].clone();
    let known = headers.get_all(header::IF_NONE_MATCH).iter().any(|given| names(given, &tag));
    let common = [(header::ETAG, tag), (header::CACHE_CONTROL, HeaderValue::from_static("no-cache"))];
    if known {
        return (StatusCode::NOT_MODIFIED, common).into_response();
    }
    let part = &PARTS[at];
    let about = [
        (header::CONTENT_TYPE, HeaderValue::from_static(content_type(part.name))),
        (header::CONTENT_LENGTH, HeaderValue::from(part.data.len())),
    ];
    let body = if method == Method::HEAD { &[] } else { part.data };
    (common, about, body).into_response()
}

/// Whether an `If-None-Match` names this tag. RFC 9110, section 13.1.2: compared weakly.
fn names(given: &HeaderValue, tag: &HeaderValue) -> bool {
    let Ok(given) = given.to_str() else { return false };
    let mut tags = given.split(',').map(|one| one.trim().trim_start_matches("W/").as_bytes());
    tags.any(|one| one == b"*" || one == tag.as_bytes())
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    /// Bytes that the page may have, compressed or not: it has fewer as it is than it may have compressed.
    const MOST: usize = 200_000;
    const LONGEST: usize = 300;

    fn header_of(response: &Response, name: header::HeaderName) -> &str {
        response.headers().get(name).unwrap().to_str().unwrap()
    }

    fn on_disk(folder: &Path, below: &str, found: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let name = format!("{below}{}", entry.file_name().to_str().unwrap());
            if entry.path().is_dir() {
                on_disk(&entry.path(), &format!("{name}/"), found);
            } else {
                found.insert(name);
            }
        }
    }

    #[test]
    fn all_parts_are_served_and_small() {
        let mut files = BTreeSet::new();
        on_disk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("ui"), "", &mut files);
        assert_eq!(PARTS.iter().map(|part| part.name.to_owned()).collect::<Vec<_>>(), Vec::from_iter(files));
        let total: usize = PARTS.iter().map(|part| part.data.len()).sum();
        assert!(total < MOST, "{total} bytes");
        for part in PARTS {
            let text = std::str::from_utf8(part.data).unwrap();
            assert!(text.lines().count() <= LONGEST, "{} is long", part.name);
            let answer = serve(part.name, &Method::GET, &HeaderMap::new());
            assert_eq!(answer.status(), StatusCode::OK);
            assert_ne!(header_of(&answer, header::CONTENT_TYPE), "application/octet-stream", "{}", part.name);
        }
    }

    /// Data becomes text, never markup or code; and nothing comes from anywhere else.
    #[test]
    fn no_part_makes_markup_of_data_or_asks_others() {
        let words = [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "new Function",
            "javascript:",
        ];
        for part in PARTS {
            let text = std::str::from_utf8(part.data).unwrap();
            for word in words.iter().chain(&["https://", "@import", "url("]) {
                assert!(!text.contains(word), "{} has {word}", part.name);
            }
            for (at, _) in text.match_indices("http://") {
                let ours = ["http://127.0.0.1:3456/#token=", "http://www.w3.org/2000/svg"];
                assert!(
                    ours.iter().any(|known| text[at..].starts_with(known)),
                    "{}: {}",
                    part.name,
                    &text[at..at + 20]
                );
            }
        }
    }

    #[test]
    fn what_is_known_is_not_sent_again() {
        let first = serve("app.js", &Method::GET, &HeaderMap::new());
        let tag = first.headers()[header::ETAG].clone();
        assert!(tag.to_str().unwrap().starts_with('"'));
        let asking = |given: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::IF_NONE_MATCH, given.parse().unwrap());
            serve("app.js", &Method::GET, &headers).status()
        };
        assert_eq!(asking(tag.to_str().unwrap()), StatusCode::NOT_MODIFIED);
        assert_eq!(asking(&format!("\"other\", W/{}", tag.to_str().unwrap())), StatusCode::NOT_MODIFIED);
        assert_eq!(asking("\"other\""), StatusCode::OK);
        assert_eq!(serve("../src/ui.rs", &Method::GET, &HeaderMap::new()).status(), StatusCode::NOT_FOUND);
        assert_ne!(TAGS[0], TAGS[1]);
    }
}
