//! A gateway in a simulated grid, and requests to it.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use client::Client;
use gateway::{Gateway, Settings, Token};
use serde_json::{Value, json};
use testkit::grid::SimGrid;
use tower::ServiceExt;

pub(crate) const TOKEN: &str = "a-token-of-a-test-that-nobody-guesses";

pub(crate) fn simulate<T>(story: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    runtime.unwrap().block_on(story)
}

/// Bytes that depend on `seed` and position.
pub(crate) fn noise(seed: u8, len: usize) -> Vec<u8> {
    let mut out = vec![0; len];
    blake3::Hasher::new_keyed(&[seed; 32]).finalize_xof().fill(&mut out);
    out
}

/// A grid of ten servers with a gateway to it.
pub(crate) struct World {
    pub(crate) grid: SimGrid,
    pub(crate) client: Client,
    pub(crate) router: Router,
    /// A directory that may be written.
    pub(crate) root: String,
    pub(crate) dir: tempfile::TempDir,
}

/// What a request was answered.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{}", self.text()))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn lines(&self) -> Vec<Value> {
        self.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// A refusal of this status and kind, in the form that all refusals have.
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

    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        assert!(self.status.is_success(), "{} {}", self.status, self.text());
        self
    }
}

impl World {
    pub(crate) async fn new(seed: u64) -> Self {
        let mut grid = SimGrid::start(seed, 10).await;
        let client = grid.client("3/7/10").await;
        let dir = tempfile::tempdir().unwrap();
        let shares = client.settings().shares;
        client::ClientDir::create(&dir.path().join("client"), &[], shares, None, &protocol::OsRandom)
            .unwrap();
        let settings = Settings {
            listen: "127.0.0.1:3456".parse().unwrap(),
            hosts: Vec::new(),
            client_dir: Some(dir.path().join("client")),
            token: Token::new(TOKEN.into()),
            tls: false,
            insecure: false,
        };
        let gateway: Arc<Gateway> = Gateway::new(client.clone(), settings);
        let root = client.make_directory().await.unwrap().cap().to_string();
        Self { grid, client, router: gateway::router(gateway), root, dir }
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, usize::MAX).await.map(Vec::from).unwrap_or_else(|error| {
            panic!("the body broke off: {error}");
        });
        Answer { status: parts.status, headers: parts.headers, body }
    }

    pub(crate) fn request(&self, method: &str, path: &str) -> axum::http::request::Builder {
        Request::builder().method(method).uri(path).header("host", "127.0.0.1:3456")
    }

    /// A POST of JSON without the token.
    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        let request = self.request("POST", path).header("content-type", "application/json");
        self.send(request.body(body.to_string().into()).unwrap()).await
    }

    pub(crate) async fn post_with_token(&self, path: &str, body: Value) -> Answer {
        let request = self.request("POST", path).header("content-type", "application/json");
        let request = request.header("authorization", format!("Bearer {TOKEN}"));
        self.send(request.body(body.to_string().into()).unwrap()).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(self.request("GET", path).body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn get_with_token(&self, path: &str) -> Answer {
        let request = self.request("GET", path).header("authorization", format!("Bearer {TOKEN}"));
        self.send(request.body(Body::empty()).unwrap()).await
    }

    /// The status alone; the body may never end.
    pub(crate) async fn send_quietly(&self, request: Request<Body>) -> u16 {
        self.router.clone().oneshot(request).await.unwrap().status().as_u16()
    }

    pub(crate) fn root_at(&self) -> Value {
        self.at(&[])
    }

    /// The root, or what is below it.
    pub(crate) fn at(&self, path: &[&str]) -> Value {
        json!({ "cap": self.root, "path": path })
    }

    pub(crate) async fn mkdir(&self, path: &[&str], name: &str) -> Value {
        self.post("/api/mkdir", json!({ "where": self.at(path), "name": name })).await.ok().json()
    }

    /// Names and entries of a directory.
    pub(crate) async fn list(&self, place: Value) -> Vec<Value> {
        let mut lines = self.post("/api/list", json!({ "where": place })).await.ok().lines();
        let end = lines.pop().unwrap();
        assert_eq!(end, json!({ "end": true, "count": lines.len() - 1 }));
        lines.remove(0);
        lines
    }

    pub(crate) async fn names(&self, path: &[&str]) -> Vec<String> {
        let entries = self.list(self.at(path)).await;
        entries.iter().map(|entry| entry["name"].as_str().unwrap().to_owned()).collect()
    }

    /// Links a file by the library.
    pub(crate) async fn put(&self, path: &[&str], name: &str, data: &[u8]) {
        let options = client::PutOptions::default();
        let report = self.client.put(client::Source::bytes(data.to_vec()), options).await.unwrap();
        let child = client::filestore::Child::new(report.cap, None).unwrap();
        let names: Vec<_> = path.iter().map(|name| name.parse().unwrap()).collect();
        let view = self.client.make_path(&self.root.parse().unwrap(), &names).await.unwrap();
        let link = client::filestore::DirEdit::Link {
            name: name.parse().unwrap(),
            child: Box::new(child),
            replace: client::filestore::Replace::No,
        };
        self.client.edit_entry(view.writer().unwrap(), link).await.unwrap();
    }

    /// Kills all servers but so many.
    pub(crate) fn leave(&mut self, left: usize) {
        for index in left..10 {
            self.grid.kill(index);
        }
    }
}
