//! The headers of every route: those that keep capabilities in and scripts out.

use axum::body::Body;
use axum::response::Response;
use serde_json::{Value, json};

use crate::common::{Site, TOKEN};

/// What an answer is, and so what its policy says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    /// The page and data: nothing but our own scripts.
    Ours,
    /// A page without script.
    Plain,
    /// Somebody's file, shown or saved.
    Stored,
    /// The same within our own page.
    Framed,
}

#[track_caller]
fn holds(answer: &Response, kind: Kind, what: &str) {
    let header = |name: &str| answer.headers().get(name).map_or("", |value| value.to_str().unwrap());
    assert_eq!(header("x-content-type-options"), "nosniff", "{what}");
    assert_eq!(header("referrer-policy"), "no-referrer", "{what}");
    assert_eq!(header("cross-origin-resource-policy"), "same-origin", "{what}");
    assert_eq!(header("cross-origin-opener-policy"), "same-origin", "{what}");
    let cache = header("cache-control");
    assert!(cache.contains("no-store") || cache.contains("no-cache"), "{what}: {cache}");
    let framed = kind == Kind::Framed;
    assert_eq!(header("x-frame-options"), if framed { "SAMEORIGIN" } else { "DENY" }, "{what}");
    let policy = header("content-security-policy");
    let parts: Vec<&str> = policy.split(';').map(str::trim).collect();
    assert!(parts.contains(&"default-src 'none'") && parts.contains(&"base-uri 'none'"), "{what}: {policy}");
    let ancestors = if framed { "frame-ancestors 'self'" } else { "frame-ancestors 'none'" };
    assert!(parts.contains(&ancestors), "{what}: {policy}");
    let scripts: Vec<&&str> = parts.iter().filter(|part| part.starts_with("script-src")).collect();
    match kind {
        Kind::Ours => assert_eq!(scripts, [&"script-src 'self'"], "{what}"),
        Kind::Plain => assert_eq!(scripts, [&"script-src 'none'"], "{what}"),
        Kind::Stored | Kind::Framed => {
            assert!(scripts.is_empty() && parts.contains(&"sandbox"), "{what}: {policy}");
        }
    }
    assert!(!policy.contains("allow-") && !policy.contains("unsafe-eval"), "{what}: {policy}");
}

async fn ticket(site: &Site, dir: &str, path: &[&str], as_: &str) -> String {
    let asked = json!({ "where": { "cap": dir, "path": path }, "as": as_ }).to_string();
    let made = site.ask("POST", "/api/tickets", &[("content-type", "application/json")], asked).await.is(200);
    serde_json::from_slice::<Value>(&made.body).unwrap()["url"].as_str().unwrap().to_owned()
}

#[tokio::test(start_paused = true)]
async fn every_route_has_the_headers_that_keep_caps_in() {
    use Kind::{Framed, Ours, Plain, Stored};
    let site = Site::start(15).await;
    let dir = site.mkdir().await;
    site.ask("PUT", &format!("/uri/{dir}/a.html"), &[], "<script>alert(1)</script>".repeat(10)).await.is(201);
    let inline = ticket(&site, &dir, &["a.html"], "inline").await;
    let download = ticket(&site, &dir, &["a.html"], "download").await;
    let zip = ticket(&site, &dir, &[], "zip").await;
    let table = [
        ("GET", "/".to_owned(), 200, Ours),
        ("GET", "/ui/app.js".into(), 200, Ours),
        ("GET", "/ui/none".into(), 404, Ours),
        ("GET", "/nothing".into(), 404, Ours),
        ("GET", "/?t=json".into(), 200, Ours),
        ("GET", "/metrics".into(), 200, Ours),
        ("GET", "/healthz".into(), 200, Ours),
        ("GET", "/readyz".into(), 200, Ours),
        ("GET", format!("/uri/{dir}"), 200, Plain),
        ("GET", format!("/uri/{dir}?t=info"), 200, Plain),
        ("GET", format!("/uri/{dir}?t=rename-form&name=a"), 200, Plain),
        ("POST", format!("/uri/{dir}?t=check"), 200, Plain),
        ("GET", format!("/uri/{dir}?t=json"), 200, Ours),
        ("GET", format!("/uri/{dir}?t=uri"), 200, Ours),
        ("GET", format!("/uri/{dir}/a.html"), 200, Stored),
        ("HEAD", format!("/uri/{dir}/a.html"), 200, Stored),
        ("GET", format!("/cap/{dir}/a.html?save=true"), 200, Stored),
        ("GET", format!("/cap/{dir}/none"), 404, Ours),
        ("GET", "/file/URI:LIT:nbswy3dp/x.html".into(), 200, Stored),
        ("GET", "/named/URI:LIT:nbswy3dp/x.svg".into(), 200, Stored),
        ("GET", format!("/uri?uri={dir}"), 302, Ours),
        ("PUT", "/uri".into(), 200, Ours),
        ("PATCH", format!("/uri/{dir}"), 405, Ours),
        ("POST", format!("/uri/{dir}?t=stream-manifest"), 200, Ours),
        ("POST", format!("/uri/{dir}?t=stream-deep-check"), 200, Ours),
        ("POST", format!("/uri/{dir}?t=start-deep-stats&ophandle=h"), 302, Ours),
        ("GET", "/operations/h".into(), 200, Plain),
        ("GET", "/operations/h?output=json".into(), 200, Ours),
        ("GET", "/operations/h/none".into(), 404, Ours),
        ("GET", "/operations/none".into(), 404, Ours),
        ("GET", "/status".into(), 200, Plain),
        ("GET", "/statistics?t=json".into(), 200, Ours),
        ("GET", "/storage".into(), 404, Ours),
        ("GET", inline.clone(), 200, Framed),
        ("GET", download, 200, Stored),
        ("GET", "/t/none/x".into(), 404, Ours),
    ];
    for (method, path, status, kind) in table {
        let answer = site.send(method, &path, &[], Body::empty()).await;
        assert_eq!(answer.status().as_u16(), status, "{method} {path}");
        holds(&answer, kind, &path);
        for (name, value) in [("host", "evil.example"), ("origin", "null"), ("sec-fetch-site", "cross-site")]
        {
            let refused = site.send(method, &path, &[(name, value)], Body::empty()).await;
            assert!(matches!(refused.status().as_u16(), 403 | 421), "{method} {path} {name}");
            holds(&refused, Ours, &path);
        }
    }
    let zip = site.send("GET", &zip, &[], Body::empty()).await;
    assert_eq!(zip.status(), 200);
    assert_eq!(zip.headers()["x-content-type-options"], "nosniff");
    assert!(zip.headers()["content-disposition"].to_str().unwrap().starts_with("attachment"));
    let known = [("if-none-match", "*")];
    holds(&site.send("GET", &inline, &known, Body::empty()).await, Framed, "not modified");
}

#[tokio::test(start_paused = true)]
async fn every_route_of_our_own_api_has_them() {
    let site = Site::start(16).await;
    let described: Value = serde_json::from_str(include_str!("../../src/api/openapi.json")).unwrap();
    let bearer = format!("Bearer {TOKEN}");
    for (path, methods) in described["paths"].as_object().unwrap() {
        let path = path.replace("{id}", "none").replace("{name}", "none");
        for method in methods.as_object().unwrap().keys().filter(|method| *method != "parameters") {
            let method = method.to_uppercase();
            let json = ("content-type", "application/json");
            for headers in
                [&[json][..], &[json, ("authorization", &bearer)], &[("origin", "http://evil.example")]]
            {
                let answer = site.send(&method, &path, headers, "{}").await;
                holds(&answer, Kind::Ours, &format!("{method} {path}"));
            }
        }
    }
}
