//! Who is let in, and which headers every answer has.
//!
//! A browser on this machine is the danger: any page that it shows may send requests here. So a request must name this gateway as its host
//! (else a name that somebody points at this machine would do), and what another site's page sends is refused, but for a visit to stored
//! content, which is sandboxed. What no cap authorises needs the token, except from programs on this machine, which is as Tahoe's
//! clients come.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::api::Problem;
use crate::{Gateway, Settings};

/// Where a request comes from; [`crate::serve()`] says so of each.
#[derive(Clone, Copy, Debug)]
pub struct CameFrom(pub SocketAddr);

/// What our own pages may load: nothing but what this gateway serves.
const PAGE: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; connect-src 'self'; frame-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// Set on every answer, unless the route set it.
const HEADERS: [(HeaderName, HeaderValue); 7] = [
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
    (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(PAGE)),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
];

/// Paths that need no token even where everything does: pages without a secret in them, and addresses that are secrets themselves.
const OPEN: [&str; 3] = ["/t/", "/ui/", "/api/openapi.json"];
/// The same, to the letter.
const OPEN_EXACTLY: [&str; 5] = ["/", "/favicon.ico", "/healthz", "/readyz", "/metrics"];

/// Why a request is not let in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Refusal {
    Host,
    CrossSite,
    /// What no capability authorises wants the token.
    Token,
    /// Beyond loopback everything does.
    TokenToo,
}

/// The longest name of a host that is told back, in bytes.
const MAX_HOST: usize = 253 + ":65535".len();

impl Refusal {
    /// What it says to whoever asked for this host.
    fn answer(self, host: Option<&Authority>, by_api: bool) -> Response {
        let (status, code, text) = match self {
            Self::Host => (StatusCode::MISDIRECTED_REQUEST, "wrong-host", misdirected(host)),
            Self::CrossSite => {
                (StatusCode::FORBIDDEN, "cross-site", "A page of another site may not do this.".to_owned())
            }
            Self::Token => (
                StatusCode::UNAUTHORIZED,
                "no-token",
                "No capability authorises this: it needs the token in the address that `sarsen gateway url` prints.".to_owned(),
            ),
            Self::TokenToo => (
                StatusCode::UNAUTHORIZED,
                "no-token",
                "This gateway is reached from other machines: besides a capability it wants the token, `Authorization: Bearer TOKEN`, that is in the address that `sarsen gateway url` prints.".to_owned(),
            ),
        };
        if by_api {
            return Problem::new(status, code, text).into_response();
        }
        let mut response = (status, text + "\n").into_response();
        if status == StatusCode::UNAUTHORIZED {
            let value = HeaderValue::from_static("Bearer realm=\"sarsen\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, value);
        }
        response
    }
}

/// Names the host that was asked for, and what would let it be one.
fn misdirected(host: Option<&Authority>) -> String {
    match host.map(Authority::as_str) {
        Some(host) if host.len() <= MAX_HOST => {
            format!("This gateway does not go by the name {host}. If it is to, start it with --host {host}")
        }
        _ => "This request names no host, several, or none that there can be.".to_owned(),
    }
}

/// Lets a request in or refuses it.
pub async fn admit(State(gateway): State<Arc<Gateway>>, request: Request, next: Next) -> Response {
    let (begun, method) = (Instant::now(), request.method().clone());
    // The pattern: paths hold caps.
    let route = request.extensions().get::<MatchedPath>().cloned();
    let by_api = request.uri().path().starts_with("/api/");
    let asked = host(&request);
    let mut response = match check(gateway.settings(), &request) {
        Ok(()) => next.run(request).await,
        Err(refusal) => {
            tracing::info!(?refusal, "a request was refused");
            refusal.answer(asked.as_ref(), by_api)
        }
    };
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.entry(name).or_insert(value);
    }
    let route = route.as_ref().map_or("-", MatchedPath::as_str);
    tracing::debug!(%method, route, status = response.status().as_u16(), elapsed = ?begun.elapsed(), "answered");
    response
}

fn check(settings: &Settings, request: &Request) -> Result<(), Refusal> {
    let headers = request.headers();
    let host = host(request).ok_or(Refusal::Host)?;
    if !knows(settings, &host) {
        return Err(Refusal::Host);
    }
    if is_cross_site(settings, headers, &host) && !is_visit(request) {
        return Err(Refusal::CrossSite);
    }
    if settings.token.is_in(headers) {
        return Ok(());
    }
    wanted_token(settings, request).map_or(Ok(()), Err)
}

/// The one host that a request names.
fn host(request: &Request) -> Option<Authority> {
    let mut given = request.headers().get_all(header::HOST).iter();
    let (host, more) = (given.next()?, given.next());
    let host: Authority = host.to_str().ok()?.parse().ok()?;
    let same = request.uri().authority().is_none_or(|absolute| *absolute == host);
    (more.is_none() && same && !host.as_str().contains('@')).then_some(host)
}

/// Whether this gateway goes by that name.
fn knows(settings: &Settings, host: &Authority) -> bool {
    let name = host.host().trim_start_matches('[').trim_end_matches(']');
    let standard = if settings.tls { 443 } else { 80 };
    let our_port = host.port_u16().unwrap_or(standard) == settings.listen.port();
    let ours = match name.parse::<IpAddr>() {
        Ok(address) => address.is_loopback() || address == settings.listen.ip(),
        Err(_) => name.eq_ignore_ascii_case("localhost"),
    };
    ours && our_port || settings.hosts.iter().any(|known| is_given(known, host))
}

/// Whether this is loopback's name or address. One that was given with `--host` may be a proxy's.
fn is_loopback(settings: &Settings, host: &Authority) -> bool {
    let name = host.host().trim_start_matches('[').trim_end_matches(']');
    let loopback = match name.parse::<IpAddr>() {
        Ok(address) => address.is_loopback(),
        Err(_) => name.eq_ignore_ascii_case("localhost"),
    };
    loopback && !settings.hosts.iter().any(|known| is_given(known, host))
}

/// Whether `--host` gave this one, with its port or without.
fn is_given(known: &str, host: &Authority) -> bool {
    let name = host.host().trim_start_matches('[').trim_end_matches(']');
    known.eq_ignore_ascii_case(name) || known.eq_ignore_ascii_case(host.as_str())
}

/// Whether a browser says that another site is behind this request. Programs say nothing.
fn is_cross_site(settings: &Settings, headers: &HeaderMap, host: &Authority) -> bool {
    let mut sites = headers.get_all("sec-fetch-site").iter().map(HeaderValue::as_bytes);
    let site = sites.next();
    if sites.next().is_some() {
        return true;
    }
    if site.is_some_and(|site| site != b"same-origin" && site != b"none") {
        return true;
    }
    let scheme = if settings.tls { "https" } else { "http" };
    let own = |origin: &HeaderValue| {
        // The forms of our pages, which send no referrer, come so. What has no origin of its own, as a sandboxed page, is said to be of
        // another site.
        if origin == "null" {
            return site == Some(b"same-origin");
        }
        let origin = origin.to_str().unwrap_or_default();
        origin.split_once("://").is_some_and(|(by, at)| {
            // Behind a proxy that speaks TLS, pages come from there.
            (by == scheme || by == "https") && at.eq_ignore_ascii_case(host.as_str())
        })
    };
    headers.get_all(header::ORIGIN).iter().any(|origin| !own(origin))
}

/// Whether somebody followed a link to here, in a window of its own: what is shown then has no power over us.
fn is_visit(request: &Request) -> bool {
    let headers = request.headers();
    let is = |name: &str, value: &str| headers.get(name).is_some_and(|given| given == value);
    matches!(*request.method(), Method::GET | Method::HEAD)
        && !headers.contains_key(header::ORIGIN)
        && is("sec-fetch-mode", "navigate")
        && is("sec-fetch-dest", "document")
        && !request.uri().path().starts_with("/api")
}

/// Whether a request needs the token, and why. Those of `/api` that do always ask for it themselves.
fn wanted_token(settings: &Settings, request: &Request) -> Option<Refusal> {
    let path = request.uri().path();
    let welcome = path == "/" && crate::tahoe::wants_json(request.uri());
    if !settings.listen.ip().is_loopback() && !settings.insecure {
        let open = OPEN_EXACTLY.contains(&path) || OPEN.iter().any(|open| path.starts_with(open));
        return (welcome || !open).then_some(Refusal::TokenToo);
    }
    let unlinked = matches!(path, "/uri" | "/uri/" | "/cap" | "/cap/")
        && !matches!(*request.method(), Method::GET | Method::HEAD);
    let about_the_node = ["/status", "/statistics", "/storage", "/operations"]
        .iter()
        .any(|start| path.strip_prefix(start).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
        || welcome;
    ((unlinked || about_the_node) && !is_local_program(settings, request)).then_some(Refusal::Token)
}

/// Headers that proxies add.
const PROXIED: [&str; 4] = ["forwarded", "x-forwarded-for", "x-real-ip", "via"];

/// Whether a program on this machine sent this, and neither a browser nor a proxy on behalf of somebody elsewhere.
fn is_local_program(settings: &Settings, request: &Request) -> bool {
    let headers = request.headers();
    if PROXIED.iter().any(|name| headers.contains_key(*name))
        || !host(request).is_some_and(|host| is_loopback(settings, &host))
    {
        return false;
    }
    let from_here =
        request.extensions().get::<CameFrom>().is_some_and(|CameFrom(address)| address.ip().is_loopback());
    let by_browser = headers.contains_key(header::ORIGIN)
        || headers.keys().any(|name| name.as_str().starts_with("sec-fetch-"));
    from_here && !by_browser
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Token;

    fn settings() -> Settings {
        Settings {
            listen: "127.0.0.1:3456".parse().unwrap(),
            hosts: vec!["grid.example".into()],
            client_dir: None,
            token: Token::new("secret".repeat(10)),
            tls: false,
            insecure: false,
        }
    }

    fn request(method: &str, path: &str, headers: &[(&str, &str)]) -> Request {
        let mut request = axum::http::Request::builder().method(method).uri(path);
        if headers.iter().all(|(name, _)| *name != "host") {
            request = request.header("host", "127.0.0.1:3456");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(axum::body::Body::empty()).unwrap();
        request.extensions_mut().insert(CameFrom("127.0.0.1:5".parse().unwrap()));
        request
    }

    fn refused(method: &str, path: &str, headers: &[(&str, &str)]) -> Option<Refusal> {
        check(&settings(), &request(method, path, headers)).err()
    }

    #[test]
    fn only_names_of_its_own_are_answered() {
        for host in [
            "127.0.0.1:3456",
            "localhost:3456",
            "LOCALHOST:3456",
            "[::1]:3456",
            "grid.example",
            "grid.example:8",
        ] {
            assert_eq!(refused("GET", "/uri/x", &[("host", host)]), None, "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:3456",
            "127.0.0.1",
            "127.0.0.1:1",
            "10.0.0.1:3456",
            "a@localhost:3456",
            "",
            "localhost.evil:3456",
        ] {
            assert_eq!(refused("GET", "/uri/x", &[("host", host)]), Some(Refusal::Host), "{host}");
        }
        let twice = [("host", "localhost:3456"), ("host", "evil.example")];
        assert_eq!(refused("GET", "/uri/x", &twice), Some(Refusal::Host));
        assert_eq!(refused("GET", "http://evil.example/uri/x", &[]), Some(Refusal::Host));
    }

    #[test]
    fn another_sites_page_may_only_lead_here() {
        let visit = [
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-dest", "document"),
        ];
        assert_eq!(refused("GET", "/uri/x", &visit), None);
        assert_eq!(refused("POST", "/uri/x", &visit), Some(Refusal::CrossSite));
        assert_eq!(refused("GET", "/api/aliases", &visit), Some(Refusal::CrossSite));
        let framed = [visit[0], visit[1], ("sec-fetch-dest", "iframe")];
        assert_eq!(refused("GET", "/uri/x", &framed), Some(Refusal::CrossSite));
        let loaded = [("sec-fetch-site", "same-site"), ("sec-fetch-mode", "no-cors")];
        assert_eq!(refused("GET", "/uri/x", &loaded), Some(Refusal::CrossSite));
        for origin in ["null", "http://evil.example", "http://127.0.0.1:80", "http://localhost:3456"] {
            assert_eq!(refused("PUT", "/uri/x", &[("origin", origin)]), Some(Refusal::CrossSite), "{origin}");
        }
        let own = [("origin", "http://127.0.0.1:3456"), ("sec-fetch-site", "same-origin")];
        assert_eq!(refused("POST", "/uri/x", &own), None);
    }

    #[test]
    fn a_form_of_our_own_page_comes_without_an_origin() {
        let null = ("origin", "null");
        assert_eq!(refused("POST", "/uri/x", &[null, ("sec-fetch-site", "same-origin")]), None);
        for site in ["cross-site", "same-site", "none"] {
            let sandboxed = [null, ("sec-fetch-site", site)];
            assert_eq!(refused("POST", "/uri/x", &sandboxed), Some(Refusal::CrossSite), "{site}");
        }
        assert_eq!(refused("POST", "/uri/x", &[null]), Some(Refusal::CrossSite));
        let twice = [null, ("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")];
        assert_eq!(refused("POST", "/uri/x", &twice), Some(Refusal::CrossSite));
    }

    #[test]
    fn a_proxy_here_is_no_program_here() {
        for (method, path) in [("PUT", "/uri"), ("GET", "/status"), ("GET", "/?t=json")] {
            for proxied in [
                ("host", "grid.example"),
                ("x-forwarded-for", "10.0.0.2"),
                ("forwarded", "for=10.0.0.2"),
                ("via", "1.1 proxy"),
            ] {
                assert_eq!(refused(method, path, &[proxied]), Some(Refusal::Token), "{path} {proxied:?}");
            }
            let given = Settings { hosts: vec!["localhost".into()], ..settings() };
            let request = request(method, path, &[("host", "localhost:3456")]);
            assert_eq!(check(&given, &request).err(), Some(Refusal::Token), "{path}");
        }
    }

    #[test]
    fn what_no_cap_authorises_needs_the_token() {
        let bearer = format!("Bearer {}", "secret".repeat(10));
        let browser = ("sec-fetch-site", "same-origin");
        for (method, path) in [
            ("PUT", "/uri"),
            ("POST", "/uri?t=mkdir"),
            ("POST", "/cap"),
            ("GET", "/status"),
            ("GET", "/?t=json"),
            ("GET", "/operations/x"),
        ] {
            assert_eq!(refused(method, path, &[]), None, "a program here: {path}");
            assert_eq!(refused(method, path, &[browser]), Some(Refusal::Token), "{path}");
            assert_eq!(refused(method, path, &[browser, ("authorization", &bearer)]), None, "{path}");
            let mut remote = request(method, path, &[]);
            remote.extensions_mut().insert(CameFrom("10.0.0.2:5".parse().unwrap()));
            assert_eq!(check(&settings(), &remote).err(), Some(Refusal::Token), "{path}");
        }
        assert_eq!(refused("GET", "/uri?uri=x", &[browser]), None);
        assert_eq!(refused("GET", "/", &[browser]), None);
    }

    #[test]
    fn beyond_loopback_everything_needs_the_token() {
        let open = Settings { listen: "10.0.0.1:3456".parse().unwrap(), tls: true, ..settings() };
        let at = [("host", "10.0.0.1:3456")];
        assert_eq!(check(&open, &request("GET", "/uri/x", &at)).err(), Some(Refusal::TokenToo));
        assert_eq!(check(&open, &request("POST", "/api/list", &at)).err(), Some(Refusal::TokenToo));
        assert_eq!(check(&open, &request("GET", "/t/ticket/name", &at)).err(), None);
        assert_eq!(check(&open, &request("GET", "/", &at)).err(), None);
        for path in ["/?t=json", "/?x&t=json", "/?%74=%6ason"] {
            assert_eq!(check(&open, &request("GET", path, &at)).err(), Some(Refusal::TokenToo), "{path}");
        }
        let insecure = Settings { insecure: true, ..open };
        assert_eq!(check(&insecure, &request("GET", "/uri/x", &at)).err(), None);
    }
    #[test]
    fn who_names_another_host_is_told_which_option_allows_it() {
        let asked = |name: &str| misdirected(host(&request("GET", "/", &[("host", name)])).as_ref());
        let said = asked("localhost:8080");
        assert!(said.contains("name localhost:8080.") && said.ends_with("--host localhost:8080"), "{said}");
        for name in ["", "a b", "a@b", &"a.".repeat(200)] {
            assert!(asked(name).contains("names no host"), "{name}");
        }
    }
}
