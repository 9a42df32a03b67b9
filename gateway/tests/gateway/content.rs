//! Ranges, conditions, and what becomes of a download that cannot go on.

use axum::body::Body;
use http_body_util::BodyExt;

use crate::common::{Site, noise};

#[tokio::test(start_paused = true)]
async fn ranges_and_conditions_hold_of_files_in_the_grid() {
    let site = Site::start(1).await;
    let bytes = noise(1, 2_000_000);
    let cap = site.put(&bytes).await;
    let path = format!("/uri/{cap}?filename=a.png");
    let whole = site.get(&path).await.is(200);
    assert!(whole.body == bytes);
    assert_eq!((whole.header("content-length"), whole.header("content-type")), ("2000000", "image/png"));
    let tag = whole.header("etag").to_owned();
    let range = async |text: &str| site.ask("GET", &path, &[("range", text)], Body::empty()).await;
    let some = async |headers: &[(&str, &str)]| site.ask("GET", &path, headers, Body::empty()).await;
    let one = some(&[("range", "bytes=1999990-")]).await.is(206);
    assert_eq!(
        (one.header("content-range"), &one.body[..]),
        ("bytes 1999990-1999999/2000000", &bytes[1_999_990..])
    );
    let two = range("bytes=0-1,786430-786433").await.is(206);
    let kind = two.header("content-type");
    let boundary = kind.strip_prefix("multipart/byteranges; boundary=").unwrap();
    let mut expected = Vec::new();
    for (from, to) in [(0usize, 2usize), (786_430, 786_434)] {
        expected.extend(format!("\r\n--{boundary}\r\nContent-Type: image/png\r\nContent-Range: bytes {from}-{}/2000000\r\n\r\n", to - 1).into_bytes());
        expected.extend(&bytes[from..to]);
    }
    expected.extend(format!("\r\n--{boundary}--\r\n").into_bytes());
    assert!(two.body == expected);
    assert_eq!(two.header("content-length"), expected.len().to_string());
    assert_eq!(range("bytes=2000000-").await.is(416).header("content-range"), "bytes */2000000");
    assert!(some(&[("if-none-match", &tag)]).await.is(304).body.is_empty());
    some(&[("if-match", "\"other\"")]).await.is(412);
    some(&[("if-match", &tag), ("range", "bytes=0-0")]).await.is(206);
    some(&[("if-range", "\"other\""), ("range", "bytes=0-0")]).await.is(200);
    let head = site.ask("HEAD", &path, &[], Body::empty()).await.is(200);
    assert_eq!((head.header("content-length"), head.body.len()), ("2000000", 0));
}

#[tokio::test(start_paused = true)]
async fn a_download_that_cannot_go_on_breaks_off() {
    let mut site = Site::start(2).await;
    let bytes = noise(2, 20_000_000);
    let cap = site.put(&bytes).await;
    let mut body = site.send("GET", &format!("/uri/{cap}"), &[], Body::empty()).await.into_body();
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert!(bytes.starts_with(&first));
    for server in 0..10 {
        site.grid.kill(server);
    }
    let mut got = first.len();
    let error = loop {
        match body.frame().await {
            Some(Ok(frame)) => got += frame.into_data().unwrap().len(),
            Some(Err(error)) => break Some(error),
            None => break None,
        }
    };
    assert!(error.is_some() && got < bytes.len(), "{got} bytes look complete");
}

#[tokio::test(start_paused = true)]
async fn stored_content_is_sandboxed() {
    let site = Site::start(3).await;
    let page = b"<script>fetch('/api/aliases')</script> and more than fits into a cap, so that it is stored"
        .to_vec();
    let cap = site.put(&page).await;
    for name in ["a.html", "a.svg", "a.xhtml", "a", "a.txt", "a.png"] {
        let answer = site.get(&format!("/uri/{cap}?filename={name}")).await.is(200);
        let policy = answer.header("content-security-policy");
        assert!(policy.starts_with("sandbox; default-src 'none'"), "{name}: {policy}");
        assert!(!policy.contains("script-src") && !policy.contains("allow-"), "{name}: {policy}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("referrer-policy"), "no-referrer");
        assert_eq!(answer.header("cross-origin-resource-policy"), "same-origin");
        assert_eq!(answer.header("x-frame-options"), "DENY");
    }
    let literal = "URI:LIT:nbswy3dp".to_owned();
    for cap in [&cap, &literal] {
        for dest in ["script", "style", "worker", "sharedworker", "serviceworker"] {
            let own = [("sec-fetch-site", "same-origin"), ("sec-fetch-dest", dest)];
            let path = format!("/uri/{cap}?filename=a.js");
            let answer = site.ask("GET", &path, &own, Body::empty()).await.is(403);
            assert!(answer.header("content-type").starts_with("text/plain"));
            site.ask("GET", &path, &[own[0], ("sec-fetch-dest", "image")], Body::empty()).await.is(200);
        }
    }
}
