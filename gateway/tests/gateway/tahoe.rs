//! Tahoe's web API, where the stock client does not go.

use std::io;

use axum::body::{Body, Bytes};
use serde_json::Value;

use crate::common::{Site, TOKEN, noise};

#[tokio::test(start_paused = true)]
async fn an_upload_that_ends_early_leaves_nothing_visible() {
    let site = Site::start(11).await;
    let dir = site.mkdir().await;
    for len in [100usize, 10_000_000] {
        let pieces = vec![Ok(Bytes::from(noise(1, len))), Err(io::Error::from(io::ErrorKind::UnexpectedEof))];
        let body = Body::new(Pieces(pieces.into()));
        site.ask("PUT", &format!("/uri/{dir}/cut"), &[], body).await.is(400);
        site.get(&format!("/uri/{dir}/cut")).await.is(404);
    }
    let listing: Value = serde_json::from_slice(&site.get(&format!("/uri/{dir}?t=json")).await.body).unwrap();
    assert_eq!(listing[1]["children"], serde_json::json!({}));
}

struct Pieces(std::collections::VecDeque<Result<Bytes, io::Error>>);

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<io::Result<http_body::Frame<Bytes>>>> {
        std::task::Poll::Ready(self.0.pop_front().map(|piece| piece.map(http_body::Frame::data)))
    }
}

#[tokio::test(start_paused = true)]
async fn what_goes_wrong_has_its_own_status() {
    let mut site = Site::start(12).await;
    let dir = site.mkdir().await;
    let read_only = site.get(&format!("/uri/{dir}?t=readonly-uri")).await.text();
    let file = site.put(&noise(3, 100_000)).await;
    let nobody = file.replace(&file[8..12], if &file[8..12] == "aaaa" { "bbbb" } else { "aaaa" });
    let put = async |path: String| site.ask("PUT", &path, &[], noise(4, 1000)).await;
    put(format!("/uri/{dir}/a")).await.is(201);
    put(format!("/uri/{dir}/a?replace=false")).await.is(409);
    put(format!("/uri/{dir}/a/b")).await.is(409);
    put(format!("/uri/{read_only}/a")).await.is(403);
    put("/uri/nonsense/a".into()).await.is(400);
    put(format!("/uri/{dir}//a")).await.is(400);
    site.get(&format!("/uri/{dir}/none")).await.is(404);
    site.get("/operations/none").await.is(404);
    site.get(&format!("/uri/{nobody}")).await.is(400);
    for server in 2..10 {
        site.grid.kill(server);
    }
    let cannot = site.get(&format!("/uri/{file}")).await.is(503);
    assert_eq!(cannot.header("retry-after"), "10");
    let cannot = site.ask("PUT", &format!("/uri/{dir}/b"), &[], noise(5, 1000)).await.is(503);
    assert_eq!(cannot.header("retry-after"), "10");
}

#[tokio::test(start_paused = true)]
async fn conditions_of_changes_hold() {
    let site = Site::start(13).await;
    let dir = site.mkdir().await;
    let path = format!("/uri/{dir}/a");
    let put =
        async |headers: &[(&str, &str)], byte: u8| site.ask("PUT", &path, headers, vec![byte; 100]).await;
    put(&[("if-match", "*")], 0).await.is(412);
    put(&[("if-none-match", "*")], 1).await.is(201);
    put(&[("if-none-match", "*")], 2).await.is(412);
    let tag = site.get(&path).await.header("etag").to_owned();
    put(&[("if-match", &tag)], 3).await.is(200);
    put(&[("if-match", &tag)], 4).await.is(412);
    assert_eq!(site.get(&path).await.body, [3; 100]);
    site.ask("DELETE", &path, &[("if-match", &tag)], Body::empty()).await.is(412);
}

#[tokio::test(start_paused = true)]
async fn hostile_names_are_text_everywhere() {
    let site = Site::start(14).await;
    let dir = site.mkdir().await;
    let name = "%3Cscript%3Ealert(1)%3C%2Fscript%3E".replace("%2F", "%5C");
    site.ask("PUT", &format!("/uri/{dir}/{name}"), &[], "x").await.is(201);
    site.ask("POST", &format!("/uri/{dir}/%22%27%3E%3Cimg?t=mkdir"), &[], Body::empty()).await.is(200);
    for path in [
        "".to_owned(),
        format!("/{name}?t=info"),
        format!("?t=rename-form&name={name}"),
        "/%22%27%3E%3Cimg".into(),
    ] {
        let page = site.get(&format!("/uri/{dir}{path}")).await.is(200);
        assert!(page.header("content-type").starts_with("text/html"));
        assert!(!page.text().contains("<script") && !page.text().contains("<img"), "{}", page.text());
        assert!(page.header("content-security-policy").contains("default-src 'none'; script-src 'self'"));
    }
    let missing = site.get(&format!("/uri/{dir}/%3Cb%3E")).await.is(404);
    assert!(missing.header("content-type").starts_with("text/plain"));
}

#[tokio::test(start_paused = true)]
async fn every_answer_has_the_headers_that_keep_caps_in() {
    let site = Site::start(15).await;
    let dir = site.mkdir().await;
    let page = [("sec-fetch-site", "same-origin")];
    let cases = [
        ("GET", format!("/uri/{dir}")),
        ("GET", format!("/uri/{dir}?t=json")),
        ("GET", format!("/uri/{dir}?t=info")),
        ("GET", format!("/cap/{dir}/none")),
        ("GET", "/file/URI:LIT:nbswy3dp/x.html".into()),
        ("GET", "/named/URI:LIT:nbswy3dp/x.svg".into()),
        ("GET", format!("/uri?uri={dir}")),
        ("PUT", "/uri".into()),
        ("POST", format!("/uri/{dir}?t=check")),
        ("POST", format!("/uri/{dir}?t=stream-manifest")),
        ("GET", "/operations/x".into()),
        ("GET", "/status".into()),
        ("GET", "/statistics".into()),
        ("GET", "/storage".into()),
        ("GET", "/?t=json".into()),
        ("GET", "/nothing".into()),
        ("PATCH", format!("/uri/{dir}")),
    ];
    for (method, path) in cases {
        for headers in [&page[..], &[], &[("host", "evil.example")], &[("origin", "null")]] {
            let answer = site.ask(method, &path, headers, Body::empty()).await;
            assert_eq!(answer.header("x-content-type-options"), "nosniff", "{method} {path}");
            assert_eq!(answer.header("referrer-policy"), "no-referrer", "{method} {path}");
            assert_eq!(answer.header("x-frame-options"), "DENY", "{method} {path}");
            assert_eq!(answer.header("cross-origin-resource-policy"), "same-origin", "{method} {path}");
            assert!(
                answer.header("content-security-policy").contains("default-src 'none'"),
                "{method} {path}"
            );
            assert!(!answer.header("cache-control").is_empty(), "{method} {path}");
            if answer.status.is_client_error() {
                assert!(!String::from_utf8_lossy(&answer.body).contains("URI:"), "a cap in an error: {path}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_no_cap_authorises_wants_the_token_of_a_browser() {
    let site = Site::start(16).await;
    let browser = ("sec-fetch-site", "same-origin");
    site.ask("POST", "/uri?t=mkdir", &[browser], Body::empty()).await.is(401);
    let bearer = format!("Bearer {TOKEN}");
    site.ask("POST", "/uri?t=mkdir", &[browser, ("authorization", &bearer)], Body::empty()).await.is(200);
    site.ask("POST", "/uri?t=mkdir", &[("authorization", "Bearer x"), browser], Body::empty()).await.is(401);
}

#[tokio::test(start_paused = true)]
async fn a_form_may_name_its_file_after_it() {
    let site = Site::start(17).await;
    let dir = site.mkdir().await;
    let form = "--b\r\ncontent-disposition: form-data; name=\"file\"; filename=\"own\"\r\n\r\nbytes\r\n--b\r\ncontent-disposition: form-data; name=\"name\"\r\n\r\ngiven\r\n--b--\r\n";
    let kind = [("content-type", "multipart/form-data; boundary=b")];
    site.ask("POST", &format!("/uri/{dir}?t=upload"), &kind, form).await.is(201);
    assert_eq!(site.get(&format!("/uri/{dir}/given")).await.is(200).text(), "bytes");
    let cut = form.split("--b--").next().unwrap();
    let cut = cut.replace("given", "cut");
    site.ask("POST", &format!("/uri/{dir}?t=upload"), &kind, cut[..cut.len() - 4].to_owned()).await.is(400);
    site.get(&format!("/uri/{dir}/cut")).await.is(404);
    for to in ["http://evil.example/", "//evil.example", "javascript:alert(1)", "/\\evil.example"] {
        let body = format!("t=mkdir&name=d&when_done={to}");
        let kind = [("content-type", "application/x-www-form-urlencoded")];
        site.ask("POST", &format!("/uri/{dir}"), &kind, body).await.is(400);
    }
    site.get(&format!("/uri/{dir}/d")).await.is(404);
}

#[tokio::test(start_paused = true)]
async fn a_checked_tree_shows_what_is_missing() {
    let mut site = Site::start(18).await;
    let dir = site.mkdir().await;
    site.ask("PUT", &format!("/uri/{dir}/a"), &[], noise(6, 100_000)).await.is(201);
    site.grid.kill(4);
    let check =
        async |t: &str| site.ask("POST", &format!("/uri/{dir}?t={t}"), &[], Body::empty()).await.is(200);
    let lines: Vec<Value> = check("stream-deep-check")
        .await
        .text()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 3, "{lines:?}");
    let file = &lines[1]["check-results"]["results"];
    assert_eq!((&file["healthy"], &file["count-shares-good"]), (&false.into(), &9.into()), "{lines:?}");
    let one: Value = serde_json::from_slice(&check("check&output=JSON").await.body).unwrap();
    assert_eq!(one["results"]["recoverable"], true);
}
