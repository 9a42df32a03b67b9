//! Writing a part of a mutable file.

use axum::body::Body;

use crate::common::{Site, noise};

#[tokio::test(start_paused = true)]
async fn far_behind_the_end_nothing_is_written() {
    let site = Site::start(40).await;
    let cap = site.ask("PUT", "/uri?format=sdmf", &[], noise(1, 100)).await.is(200).text();
    for at in ["1073741925", "18446744073709551615", "18446744073709551610"] {
        let answer = site.ask("PUT", &format!("/uri/{cap}?offset={at}"), &[], "0123456789").await.is(400);
        assert!(answer.text().contains("behind the end"), "{}", answer.text());
    }
    let form = "--b\r\ncontent-disposition: form-data; name=\"file\"\r\n\r\nbytes\r\n--b--\r\n";
    let kind = [("content-type", "multipart/form-data; boundary=b")];
    let far = format!("/uri/{cap}?t=upload&offset=9223372036854775808");
    site.ask("POST", &far, &kind, form).await.is(400);
    assert!(site.get(&format!("/uri/{cap}")).await.body == noise(1, 100));
    site.ask("PUT", &format!("/uri/{cap}?offset=200"), &[], "near").await.is(200);
    assert_eq!(
        site.get(&format!("/uri/{cap}")).await.body,
        [&noise(1, 100)[..], &[0; 100], b"near"].concat()
    );
}

#[tokio::test(start_paused = true)]
async fn a_content_range_writes_a_part() {
    let site = Site::start(41).await;
    let dir = site.mkdir().await;
    let (file, mutable) = (format!("/uri/{dir}/a"), format!("/uri/{dir}/m"));
    site.ask("PUT", &file, &[], noise(1, 5000)).await.is(201);
    let cap = site.ask("PUT", &format!("{mutable}?format=sdmf"), &[], noise(2, 100)).await.is(201).text();
    let put = async |path: &str, range: &str, body: &'static [u8]| {
        site.ask("PUT", path, &[("content-range", range)], body).await
    };
    put(&mutable, "bytes 10-13/*", b"by n").await.is(200);
    put(&format!("/uri/{cap}"), "bytes 98-103/104", b"beyond").await.is(200);
    let mut wanted = noise(2, 98);
    wanted[10..14].copy_from_slice(b"by n");
    wanted.extend_from_slice(b"beyond");
    assert!(site.get(&mutable).await.body == wanted);
    for (range, body) in [
        ("bytes 10-13/*", &b"by na"[..]),
        ("bytes 10-13/*", b"by"),
        ("bytes 10-13/12", b"by n"),
        ("bytes 13-10/*", b"by n"),
        ("lines 10-13/*", b"by n"),
        ("bytes 18446744073709551612-18446744073709551615/*", b"by n"),
    ] {
        put(&mutable, range, body).await.is(400);
    }
    put(&format!("{mutable}?offset=10"), "bytes 10-13/*", b"by n").await.is(400);
    // Whether a length was announced or not.
    let streamed = Body::new(http_body_util::BodyExt::map_frame(Body::from("longer"), |frame| frame));
    site.ask("PUT", &mutable, &[("content-range", "bytes 10-13/*")], streamed).await.is(400);
    put(&file, "bytes 0-3/*", b"by n").await.is(501);
    put(&format!("/uri/{dir}/new/deep"), "bytes 0-3/*", b"by n").await.is(501);
    site.get(&format!("/uri/{dir}/new")).await.is(404);
    put(&format!("/uri/{dir}"), "bytes 0-3/*", b"by n").await.is(400);
    let read_only = site.get(&format!("/uri/{cap}?t=readonly-uri")).await.text();
    put(&format!("/uri/{read_only}"), "bytes 0-3/*", b"by n").await.is(403);
    assert!(site.get(&mutable).await.body == wanted && site.get(&file).await.body == noise(1, 5000));
}
