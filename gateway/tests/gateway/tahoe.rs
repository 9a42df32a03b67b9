//! Tahoe's web API, where the stock client does not go.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

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
    site.get(&format!("/uri/{nobody}")).await.is(403);
    for server in 2..10 {
        site.grid.kill(server);
    }
    let cannot = site.get(&format!("/uri/{file}")).await.is(503);
    assert_eq!(cannot.header("retry-after"), "5");
    let cannot = site.ask("PUT", &format!("/uri/{dir}/b"), &[], noise(5, 1000)).await.is(503);
    assert_eq!(cannot.header("retry-after"), "5");
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
        assert!(page.header("content-security-policy").contains("default-src 'none'; script-src 'none'"));
    }
    let missing = site.get(&format!("/uri/{dir}/%3Cb%3E")).await.is(404);
    assert!(missing.header("content-type").starts_with("text/plain"));
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
async fn the_head_of_a_forms_part_has_a_bound() {
    let site = Site::start(29).await;
    let dir = site.mkdir().await;
    let upload = format!("/uri/{dir}?t=upload");
    let kind = [("content-type", "multipart/form-data; boundary=b")];
    let given = Arc::new(AtomicUsize::new(0));
    let counted = |first: &'static str| Endless { first: Some(first), left: 200, given: given.clone() };
    for first in [
        "--b\r\nx: ",
        "no boundary",
        "--b\r\ncontent-disposition: form-data; name=\"name\"\r\n\r\n\r\n--b\r\ny: ",
    ] {
        given.store(0, Ordering::Relaxed);
        site.ask("POST", &upload, &kind, Body::new(counted(first))).await.is(413);
        let given = given.load(Ordering::Relaxed);
        assert!(given <= 2, "{given} MiB were taken of {first:?}");
    }
    // Heads of an ordinary size, and content of any, pass.
    let content = "z".repeat(10_000_000);
    let form = format!(
        "--b\r\nx: {}\r\ncontent-disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\n{content}\r\n--b--\r\n",
        "y".repeat(10_000)
    );
    site.ask("POST", &upload, &kind, form).await.is(201);
    assert!(site.get(&format!("/uri/{dir}/f")).await.is(200).text() == content);
    let long = format!("multipart/form-data; boundary={}", "b".repeat(1000));
    site.ask("POST", &upload, &[("content-type", &long)], "x").await.is(400);
}

/// This, and then so many MiB that say nothing.
struct Endless {
    first: Option<&'static str>,
    left: usize,
    given: Arc<AtomicUsize>,
}

impl http_body::Body for Endless {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, io::Error>>> {
        let piece = match self.first.take() {
            Some(first) => Some(Bytes::from_static(first.as_bytes())),
            None if self.left == 0 => None,
            None => {
                self.left -= 1;
                self.given.fetch_add(1, Ordering::Relaxed);
                Some(Bytes::from(vec![b'y'; 1 << 20]))
            }
        };
        std::task::Poll::Ready(piece.map(|piece| Ok(http_body::Frame::data(piece))))
    }
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

/// A body that gives these bytes, and then nothing for ever.
struct Stalls(Option<Bytes>);

impl http_body::Body for Stalls {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<io::Result<http_body::Frame<Bytes>>>> {
        self.0.take().map_or(std::task::Poll::Pending, |piece| {
            std::task::Poll::Ready(Some(Ok(http_body::Frame::data(piece))))
        })
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact(8 << 20)
    }
}

#[tokio::test(start_paused = true)]
async fn slow_uploads_do_not_stop_others() {
    let site = Site::start(19).await;
    let most = Bytes::from(noise(7, (8 << 20) - 1));
    for held in [most.slice(..1), most] {
        let slow = (0..13).map(|_| {
            let request = site.request("PUT", "/uri", &[], Body::new(Stalls(Some(held.clone()))));
            tokio::spawn(site.answer(request))
        });
        let slow: Vec<_> = slow.collect();
        tokio::time::sleep(Duration::from_millis(10)).await;
        let stored = tokio::time::timeout(Duration::from_secs(20), site.put(&noise(8, 100_000))).await;
        let cap = stored.expect("it does not wait for them");
        assert!(site.get(&format!("/uri/{cap}")).await.is(200).body == noise(8, 100_000));
        slow.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

#[tokio::test(start_paused = true)]
async fn of_two_writers_with_one_tag_one_is_refused() {
    let site = Site::start(20).await;
    let dir = site.mkdir().await;
    let (file, mutable) = (format!("/uri/{dir}/a"), format!("/uri/{dir}/m?format=sdmf"));
    for path in [&file, &mutable] {
        site.ask("PUT", path, &[], noise(1, 5000)).await.is(201);
        let tag = site.get(path).await.header("etag").to_owned();
        let only = [("if-match", tag.as_str())];
        let put = |byte: u8| site.ask("PUT", path, &only, vec![byte; 70_000]);
        let (one, two) = (put(1), put(2));
        let (one, two) = tokio::join!(one, two);
        let mut statuses = [one.status.as_u16(), two.status.as_u16()];
        let won = if statuses[0] == 200 { 1 } else { 2 };
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 412], "{path}");
        assert!(site.get(path).await.body == vec![won; 70_000]);
    }
    let new = format!("/uri/{dir}/new");
    let only = [("if-none-match", "*")];
    let put = |byte: u8| site.ask("PUT", &new, &only, vec![byte; 5000]);
    let (one, two) = tokio::join!(put(1), put(2));
    let mut statuses = [one.status.as_u16(), two.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 412]);
}

#[tokio::test(start_paused = true)]
async fn a_lost_file_can_be_replaced_under_its_tag() {
    let site = Site::start(21).await;
    let dir = site.mkdir().await;
    let path = format!("/uri/{dir}/a");
    site.ask("PUT", &path, &[], noise(1, 5000)).await.is(201);
    let tag = site.get(&path).await.header("etag").to_owned();
    let file = |path: &str| path.starts_with("shares/") || path.starts_with("packs/");
    for server in &site.grid.servers {
        for (path, len) in server.disk.files().into_iter().filter(|(path, _)| file(path)) {
            for at in (0..len as usize).step_by(64) {
                server.disk.flip(&path, at);
            }
        }
    }
    assert_ne!(site.get(&path).await.status.as_u16(), 200);
    site.ask("PUT", &path, &[("if-match", &tag)], noise(2, 5000)).await.is(200);
}

#[tokio::test(start_paused = true)]
async fn a_write_in_place_that_breaks_off_leaves_nothing() {
    let site = Site::start(22).await;
    let cap = site.ask("PUT", "/uri?format=sdmf", &[], noise(1, 100)).await.is(200).text().to_owned();
    let at = format!("/uri/{cap}?offset=50");
    let pieces =
        vec![Ok(Bytes::from(noise(2, 17_000_000))), Err(io::Error::from(io::ErrorKind::UnexpectedEof))];
    site.ask("PUT", &at, &[], Body::new(Pieces(pieces.into()))).await.is(400);
    assert!(site.get(&format!("/uri/{cap}")).await.body == noise(1, 100));
    site.ask("PUT", &at, &[], "in place").await.is(200);
    assert_eq!(
        &site.get(&format!("/uri/{cap}")).await.body[48..60],
        [&noise(1, 50)[48..], b"in place", &noise(1, 60)[58..]].concat()
    );
    site.ask("PUT", &at, &[], vec![0; (32 << 20) + 1]).await.is(413);
}

#[tokio::test(start_paused = true)]
async fn what_never_changes_is_not_sent_again() {
    let site = Site::start(23).await;
    let cap = site.put(&noise(1, 5000)).await;
    let child = format!("{{\"a\": [\"filenode\", {{\"ro_uri\": \"{cap}\"}}]}}");
    let dir = site.ask("POST", "/uri?t=mkdir-immutable", &[], child.clone()).await.is(200).text().to_owned();
    for path in [
        format!("/uri/{cap}?t=json"),
        format!("/uri/{cap}?t=uri"),
        format!("/uri/{cap}?t=readonly-uri"),
        format!("/uri/{dir}"),
        format!("/uri/{dir}?t=json"),
    ] {
        let tag = site.get(&path).await.is(200).header("etag").to_owned();
        assert!(tag.starts_with('"'), "{path}");
        let again = site.ask("GET", &path, &[("if-none-match", &tag)], Body::empty()).await.is(304);
        assert!(again.body.is_empty() && again.header("etag") == tag, "{path}");
    }
    let root = site.mkdir().await;
    let make = async |more: &str| {
        let path = format!("/uri/{root}?t=mkdir-with-children&name=d{more}");
        site.ask("POST", &path, &[], child.clone()).await
    };
    make("").await.is(200);
    make("").await.is(409);
    make("&replace=false").await.is(409);
    make("&replace=true").await.is(200);
}

#[tokio::test(start_paused = true)]
async fn a_listing_is_sent_again_only_if_it_changed() {
    let mut site = Site::start(30).await;
    let root = site.mkdir().await;
    let read = site.get(&format!("/uri/{root}?t=readonly-uri")).await.text();
    let mut tags = std::collections::BTreeSet::new();
    for name in ["a", "b"] {
        site.ask("PUT", &format!("/uri/{root}/{name}"), &[], noise(1, 5000)).await.is(201);
        for (cap, t) in [(&root, ""), (&root, "?t=json"), (&read, ""), (&read, "?t=json")] {
            let path = format!("/uri/{cap}{t}");
            let answer = site.get(&path).await.is(200);
            let tag = answer.header("etag").to_owned();
            assert!(answer.text().contains(name) && tags.insert(tag.clone()), "{path}: {tag}");
            let again = site.ask("GET", &path, &[("if-none-match", &tag)], Body::empty()).await.is(304);
            assert!(again.body.is_empty() && again.header("etag") == tag, "{path}");
            assert_eq!(site.ask("HEAD", &path, &[], Body::empty()).await.is(200).header("etag"), tag);
        }
    }
    // Of what no quorum confirms nobody is told that it is as it was.
    for server in 2..10 {
        site.grid.kill(server);
    }
    let doubtful = site.get(&format!("/uri/{root}?t=json")).await.is(200);
    assert_eq!((doubtful.header("etag"), doubtful.header("sarsen-freshness")), ("", "newest-seen"));
    let page = site.get(&format!("/uri/{root}")).await.is(200);
    assert_eq!((page.header("etag"), page.header("sarsen-freshness")), ("", "newest-seen"));
    assert!(page.text().contains("<b>This may be old.</b>"), "{}", page.text());
}

#[tokio::test(start_paused = true)]
async fn what_a_quota_forbids_has_its_own_status() {
    let mut site = Site::start(24).await;
    let dir = site.mkdir().await;
    for index in 0..10 {
        site.grid.kill(index);
        site.grid.servers[index].quotas.each = Some(20_000);
        site.grid.restart(index).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(120)).await;
    site.ask("PUT", &format!("/uri/{dir}/large"), &[], noise(1, 2_000_000)).await.is(507);
    site.get(&format!("/uri/{dir}/large")).await.is(404);
}

#[tokio::test(start_paused = true)]
async fn a_repair_repairs_and_says_what_it_did() {
    let mut site = Site::start(25).await;
    let cap = site.put(&noise(1, 100_000)).await;
    site.grid.add_server(None).await;
    tokio::time::sleep(Duration::from_secs(120)).await;
    site.grid.kill(4);
    let check = async |more: &str| {
        let path = format!("/uri/{cap}?t=check&output=JSON{more}");
        let answer = site.ask("POST", &path, &[], Body::empty()).await.is(200);
        serde_json::from_slice::<Value>(&answer.body).unwrap()
    };
    let repaired = check("&repair=true").await;
    assert_eq!((&repaired["repair-attempted"], &repaired["repair-successful"]), (&true.into(), &true.into()));
    let (pre, post) =
        (&repaired["pre-repair-results"]["results"], &repaired["post-repair-results"]["results"]);
    let count = |results: &Value| results["count-shares-good"].as_u64().unwrap();
    assert_eq!((count(pre), count(post)), (9, 10), "{repaired}");
    let holders = |results: &Value| results["sharemap"].as_object().unwrap().len();
    assert_eq!((holders(pre), holders(post)), (9, 10), "{repaired}");
    assert_eq!((&pre["healthy"], &post["healthy"]), (&false.into(), &true.into()));
    assert_eq!(check("").await["results"]["healthy"], true);
}

#[tokio::test(start_paused = true)]
async fn a_deep_check_says_what_it_could_not_do() {
    let mut site = Site::start(26).await;
    let dir = site.mkdir().await;
    site.ask("PUT", &format!("/uri/{dir}/a"), &[], noise(6, 100_000)).await.is(201);
    let unknown = "{\"odd\": [\"unknown\", {\"ro_uri\": \"ro.URI:new:thing\"}]}";
    site.ask("POST", &format!("/uri/{dir}?t=set_children"), &[], unknown).await.is(200);
    let deep = async |site: &Site, more: &str| {
        let path = format!("/uri/{dir}?t=stream-deep-check{more}");
        site.ask("POST", &path, &[], Body::empty()).await.is(200).text().to_owned()
    };
    let text = deep(&site, "").await;
    assert!(!text.contains("Healthy (LIT)") && text.contains("Not checked"), "{text}");
    assert!(text.lines().last().unwrap().starts_with("ERROR: "), "{text}");
    site.ask("DELETE", &format!("/uri/{dir}/odd"), &[], Body::empty()).await.is(200);
    assert!(!deep(&site, "&add-lease=true").await.contains("ERROR"));
    for server in 7..10 {
        site.grid.kill(server);
    }
    let text = deep(&site, "&add-lease=true").await;
    assert!(text.lines().last().unwrap().contains("leases were not renewed"), "{text}");
    let start = format!("/uri/{dir}?t=start-deep-check&add-lease=true&ophandle=h&retain-for=1");
    site.ask("POST", &start, &[], Body::empty()).await.is(302);
    let operation = async || {
        let answer = site.get("/operations/h?output=JSON").await;
        (answer.status.as_u16(), serde_json::from_slice::<Value>(&answer.body).unwrap_or_default())
    };
    let mut shown = operation().await;
    while shown.1["finished"] != true {
        assert_eq!(shown.0, 200, "what is under way does not expire");
        tokio::time::sleep(Duration::from_millis(500)).await;
        shown = operation().await;
    }
    let listed = shown.1["list-unhealthy-files"].as_array().unwrap().clone();
    assert_eq!(listed.last().unwrap()[0][0], "(the whole tree)", "{listed:?}");
    let index = listed[0][1]["storage-index"].as_str().unwrap();
    site.get(&format!("/operations/h/{index}?output=JSON")).await.is(200);
    site.get("/operations/h/none").await.is(404);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(operation().await.0, 404);
}

#[tokio::test(start_paused = true)]
async fn a_manifest_under_a_handle_is_whole() {
    let site = Site::start(27).await;
    let dir = site.mkdir().await;
    site.ask("PUT", &format!("/uri/{dir}/%C3%BC"), &[], noise(6, 5000)).await.is(201);
    site.ask("POST", &format!("/uri/{dir}?t=start-manifest&ophandle=m"), &[], Body::empty()).await.is(302);
    tokio::time::sleep(Duration::from_secs(5)).await;
    let found: Value =
        serde_json::from_slice(&site.get("/operations/m?output=json").await.is(200).body).unwrap();
    assert_eq!((&found["finished"], &found["manifest"][1][0][0]), (&true.into(), &"ü".into()), "{found}");
    assert_eq!(found["verifycaps"].as_array().unwrap().len(), 2);
    assert_eq!(
        (found["storage-index"].as_array().unwrap().len(), &found["stats"]["count-files"]),
        (2, &1.into())
    );
    let text = site.get("/operations/m?output=text").await;
    assert!(text.text().starts_with("finished: yes\n URI:DIR2:"), "{}", text.text());
}

#[tokio::test(start_paused = true)]
async fn the_forms_of_pages_without_script_work_in_a_browser() {
    let site = Site::start(28).await;
    let dir = site.mkdir().await;
    site.ask("PUT", &format!("/uri/{dir}/old"), &[], "x").await.is(201);
    let page = site.get(&format!("/uri/{dir}?t=rename-form&name=old")).await.is(200);
    let action = page.text().split("action=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let page = page.text();
    let to = page.split("name=\"when_done\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    let browser = [
        ("content-type", "application/x-www-form-urlencoded"),
        ("origin", "null"),
        ("sec-fetch-site", "same-origin"),
        ("sec-fetch-mode", "navigate"),
        ("sec-fetch-dest", "document"),
    ];
    let form = format!("t=rename&from_name=old&to_name=new&when_done={to}");
    let done = site.ask("POST", &action, &browser, form.clone()).await.is(302);
    site.get(done.header("location")).await.is(200);
    assert_eq!(site.get(&format!("/uri/{dir}/new")).await.is(200).text(), "x");
    let sandboxed =
        browser.map(|(name, value)| (name, if value == "same-origin" { "cross-site" } else { value }));
    site.ask("POST", &action, &sandboxed, form).await.is(403);
}
