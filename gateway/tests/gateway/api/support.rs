//! A gateway in a simulated grid, and requests to it.

use std::ops::{Deref, DerefMut};

use axum::body::{Body, to_bytes};
use axum::http::Request;
use gateway::Settings;
use serde_json::{Value, json};
use tower::ServiceExt;

pub(crate) use crate::common::{Answer, TOKEN, noise};
use crate::common::{Site, settings};

pub(crate) fn simulate<T>(story: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    runtime.unwrap().block_on(story)
}

/// A grid of ten servers with a gateway to it, and what requests of our own API need.
pub(crate) struct World {
    site: Site,
    /// A directory that may be written.
    pub(crate) root: String,
    pub(crate) dir: tempfile::TempDir,
}

impl Deref for World {
    type Target = Site;

    fn deref(&self) -> &Site {
        &self.site
    }
}

impl DerefMut for World {
    fn deref_mut(&mut self) -> &mut Site {
        &mut self.site
    }
}

impl World {
    pub(crate) async fn new(seed: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let client_dir = dir.path().join("client");
        let shares = "3/7/10".parse().unwrap();
        client::ClientDir::create(&client_dir, &[], shares, None, &protocol::OsRandom).unwrap();
        let settings =
            Settings { client_dir: Some(client_dir), ..settings("127.0.0.1:3456".parse().unwrap()) };
        let site = Site::with(seed, settings).await;
        let root = site.client.make_directory().await.unwrap().cap().to_string();
        Self { site, root, dir }
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
        self.put_as(path, name, data, client::PutOptions::default()).await;
    }

    pub(crate) async fn put_as(&self, path: &[&str], name: &str, data: &[u8], options: client::PutOptions) {
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
