//! A grid with a gateway, and requests of it.

use std::net::SocketAddr;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use client::Client;
use gateway::guard::CameFrom;
use gateway::{Gateway, Settings, Token};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use testkit::grid::SimGrid;
use tower::ServiceExt;

pub(crate) const TOKEN: &str = "0123456789abcdef0123456789abcdef";

pub(crate) fn settings(listen: SocketAddr) -> Settings {
    Settings {
        listen,
        hosts: Vec::new(),
        client_dir: None,
        token: Token::new(TOKEN.into()),
        tls: false,
        insecure: false,
    }
}

/// A grid and its gateway.
pub(crate) struct Site {
    pub(crate) grid: SimGrid,
    pub(crate) client: Client,
    pub(crate) router: Router,
}

/// What was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{}", self.text()))
    }

    pub(crate) fn lines(&self) -> Vec<Value> {
        self.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    #[track_caller]
    pub(crate) fn is(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        self
    }

    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        assert!(self.status.is_success(), "{} {}", self.status, self.text());
        self
    }

    /// A refusal of this status and kind, in the form that all refusals of our own API have.
    #[track_caller]
    pub(crate) fn refuses(&self, status: u16, code: &str) {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(self.header("content-type"), "application/problem+json");
        let problem = self.json();
        assert_eq!((&problem["status"], &problem["code"]), (&json!(status), &json!(code)), "{problem}");
        let shows =
            self.text().split("URI:").skip(1).any(|rest| rest.starts_with(|c: char| c.is_alphanumeric()));
        assert!(!shows, "a problem shows a capability: {problem}");
        assert_eq!(self.headers.contains_key("retry-after"), status == 503);
    }
}

impl Site {
    pub(crate) async fn start(seed: u64) -> Self {
        Self::with(seed, settings("127.0.0.1:3456".parse().unwrap())).await
    }

    pub(crate) async fn with(seed: u64, settings: Settings) -> Self {
        let mut grid = SimGrid::start(seed, 10).await;
        let client = grid.client("3/7/10").await;
        let router = gateway::router(Gateway::new(client.clone(), settings));
        Self { grid, client, router }
    }

    /// Sends a request as a program on this machine does; the answer's body is not read yet.
    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> axum::response::Response {
        let request = self.request(method, path, headers, body);
        self.router.clone().oneshot(request).await.unwrap()
    }

    pub(crate) fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Request<Body> {
        let mut request = Request::builder().method(method).uri(path);
        if headers.iter().all(|(name, _)| *name != "host") {
            request = request.header("host", "127.0.0.1:3456");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(body.into()).unwrap();
        request.extensions_mut().insert(CameFrom("127.0.0.1:9".parse().unwrap()));
        request
    }

    /// What is answered, without holding on to the site.
    pub(crate) fn answer(
        &self,
        request: Request<Body>,
    ) -> impl Future<Output = axum::response::Response> + use<> {
        let router = self.router.clone();
        async move { router.oneshot(request).await.unwrap() }
    }

    pub(crate) async fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        let (parts, body) = self.send(method, path, headers, body).await.into_parts();
        let body = body.collect().await.unwrap().to_bytes().to_vec();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], Body::empty()).await
    }

    /// Stores a file that is linked nowhere; its cap.
    pub(crate) async fn put(&self, bytes: &[u8]) -> String {
        self.ask("PUT", "/uri", &[], bytes.to_vec()).await.is(200).text()
    }

    /// Makes a directory; its cap.
    pub(crate) async fn mkdir(&self) -> String {
        self.ask("POST", "/uri?t=mkdir", &[], Body::empty()).await.is(200).text()
    }
}

/// Bytes that do not compress.
pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}
