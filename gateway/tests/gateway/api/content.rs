//! Tickets, ranges, zips, hostile names.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use client::filestore::Child;
use http_body_util::BodyExt;
use serde_json::json;
use tower::ServiceExt;

use super::support::{World, noise, simulate};

const HOSTILE: [&str; 5] = ["<script>", "new\nline", "..\\x", "\u{202e}gpj.exe", "quote\".txt"];

async fn ticket(world: &World, path: &[&str], as_: &str) -> String {
    let asked = json!({ "where": world.at(path), "as": as_ });
    world.post("/api/tickets", asked).await.ok().json()["url"].as_str().unwrap().to_owned()
}

#[test]
fn tickets_serve_ranges_show_no_capability_and_end() {
    simulate(async {
        let world = World::new(20).await;
        let data = noise(2, 400_000);
        world.put(&[], "film.mp4", &data).await;
        let url = ticket(&world, &["film.mp4"], "inline").await;
        let parts: Vec<&str> = url.split('/').collect();
        assert_eq!((parts[1], parts[3]), ("t", "film.mp4"));
        assert_eq!(parts[2].len(), 26, "less than 128 bits");
        assert!(!url.contains("URI"));
        let whole = world.get(&url).await.ok();
        assert!(whole.body == data);
        assert_eq!((whole.header("content-type"), whole.header("content-length")), ("video/mp4", "400000"));
        assert!(whole.header("content-security-policy").starts_with("sandbox;"));
        let range =
            world.request("GET", &url).header("range", "bytes=1000-1999").body(Body::empty()).unwrap();
        let part = world.send(range).await;
        assert_eq!((part.status.as_u16(), part.header("content-range")), (206, "bytes 1000-1999/400000"));
        assert!(part.body == data[1000..2000]);
        let beyond = world.request("GET", &url).header("range", "bytes=400000-").body(Body::empty()).unwrap();
        assert_eq!(world.send(beyond).await.status, 416);
        let head = world.send(world.request("HEAD", &url).body(Body::empty()).unwrap()).await.ok();
        assert_eq!((head.header("content-length"), head.body.len()), ("400000", 0));
        world.get(&format!("/t/{}/film.mp4", "a".repeat(26))).await.refuses(404, "not-found");
        let other = ticket(&world, &["film.mp4"], "download").await;
        assert_ne!(url, other);
        assert!(world.get(&other).await.header("content-disposition").starts_with("attachment;"));
        // Use keeps a ticket.
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_secs(3000)).await;
            world.get(&url).await.ok();
        }
        world.get(&other).await.refuses(404, "not-found");
        tokio::time::sleep(Duration::from_secs(3601)).await;
        world.get(&url).await.refuses(404, "not-found");
        let asked = json!({ "where": world.at(&[]), "as": "inline" });
        world.post("/api/tickets", asked).await.refuses(400, "bad-request");
    });
}

#[test]
fn what_cannot_be_read_says_whether_waiting_helps() {
    simulate(async {
        let mut world = World::new(21).await;
        world.put(&[], "file", &noise(1, 100_000)).await;
        let url = ticket(&world, &["file"], "download").await;
        world.leave(2);
        world.get(&url).await.refuses(503, "too-few-servers");
        let list = world.post("/api/list", json!({ "where": world.at(&[]) })).await;
        // The directory itself is still there to be read, though no quorum confirms it.
        assert_eq!((list.status.as_u16(), list.lines().len()), (200, 3));
        let lost = "URI:CHK:aaaaaaaaaaaaaaaaaaaaaaaaaa:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa:3:10:1000";
        for index in 2..10 {
            world.grid.restart(index).await.unwrap();
        }
        tokio::time::sleep(Duration::from_secs(120)).await;
        let asked = json!({ "where": { "cap": lost }, "as": "download" });
        let url = world.post("/api/tickets", asked).await.ok().json()["url"].as_str().unwrap().to_owned();
        world.get(&url).await.refuses(410, "no-shares");
    });
}

#[test]
fn hostile_names_stay_names() {
    simulate(async {
        let world = World::new(22).await;
        for name in HOSTILE {
            world.put(&["in"], name, name.as_bytes()).await;
        }
        let mut listed = world.names(&["in"]).await;
        let mut wanted: Vec<String> = HOSTILE.iter().map(|name| (*name).to_owned()).collect();
        listed.sort();
        wanted.sort();
        assert_eq!(listed, wanted, "JSON gives names as they are");
        for name in HOSTILE {
            let url = ticket(&world, &["in", name], "download").await;
            assert!(url.bytes().all(|byte| byte.is_ascii_graphic() && !b"<>\"\\".contains(&byte)), "{url}");
            let answer = world.get(&url).await.ok();
            assert_eq!(answer.body, name.as_bytes());
            let disposition = answer.header("content-disposition");
            assert!(
                disposition.bytes().all(|byte| (32..127).contains(&byte) && byte != b'\\'),
                "{disposition}"
            );
            assert_eq!(disposition.matches('"').count(), 2, "{disposition}");
        }
    });
}

/// What Python's zipfile makes of it: names and contents.
fn unzipped(zip: &[u8]) -> BTreeMap<String, String> {
    let script = "import sys,io,json,zipfile,hashlib\n\
        z=zipfile.ZipFile(io.BytesIO(sys.stdin.buffer.read()))\n\
        assert z.testzip() is None\n\
        json.dump({i.filename: hashlib.sha256(z.read(i)).hexdigest() for i in z.infolist()}, sys.stdout)";
    let mut python = Command::new("python3")
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 is there");
    python.stdin.take().unwrap().write_all(zip).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_directory_becomes_a_zip_that_others_read() {
    simulate(async {
        let world = World::new(23).await;
        let large = noise(9, 700_000);
        world.put(&["d"], "hello.txt", b"hello").await;
        world.put(&["d", "sub"], "large.bin", &large).await;
        world.put(&["d", "sub"], "empty", b"").await;
        for name in HOSTILE {
            world.put(&["d", "hostile"], name, name.as_bytes()).await;
        }
        world.mkdir(&["d"], "nothing").await;
        let url = ticket(&world, &["d"], "zip").await;
        assert!(url.ends_with("/d.zip"), "{url}");
        let zip = world.get(&url).await.ok();
        assert_eq!(zip.header("content-type"), "application/zip");
        let found = unzipped(&zip.body);
        // hello.txt, nothing/, sub/ with two, hostile/ with all.
        assert_eq!(found.len(), 6 + HOSTILE.len(), "{:?}", found.keys());
        assert!(found.contains_key("nothing/") && found.contains_key("hello.txt"));
        assert_eq!(found["sub/large.bin"], sha256(&large));
        for name in found.keys() {
            assert!(!name.contains(['\\', '\n', '<', '"', '\u{202e}']) && !name.contains(".."), "{name:?}");
        }
        let some = json!({ "where": world.at(&["d"]), "as": "zip", "names": ["hello.txt", "sub"] });
        let url = world.post("/api/tickets", some).await.ok().json()["url"].as_str().unwrap().to_owned();
        let found = unzipped(&world.get(&url).await.ok().body);
        assert_eq!(found.keys().collect::<Vec<_>>(), ["hello.txt", "sub/", "sub/empty", "sub/large.bin"]);
    });
}

fn sha256(data: &[u8]) -> String {
    let script = "import sys,hashlib; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest(), end='')";
    let mut python = Command::new("python3")
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    python.stdin.take().unwrap().write_all(data).unwrap();
    String::from_utf8(python.wait_with_output().unwrap().stdout).unwrap()
}

#[test]
fn zips_at_a_time_have_a_bound() {
    simulate(async {
        let world = World::new(25).await;
        world.put(&["d"], "large", &noise(1, 3_000_000)).await;
        let url = ticket(&world, &["d"], "zip").await;
        let mut unread = Vec::new();
        for _ in 0..32 {
            let request = world.request("GET", &url).body(Body::empty()).unwrap();
            let response = world.router.clone().oneshot(request).await.unwrap();
            assert_eq!(response.status(), 200);
            unread.push(response);
        }
        world.get(&url).await.refuses(503, "busy");
        let head = world.send(world.request("HEAD", &url).body(Body::empty()).unwrap()).await;
        assert_eq!(head.status, 200);
        unread.pop();
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(unzipped(&world.get(&url).await.ok().body)["large"], sha256(&noise(1, 3_000_000)));
    });
}

#[test]
fn a_zip_whose_list_is_too_long_breaks_the_connection() {
    simulate(async {
        let world = World::new(26).await;
        let file = || Child::new("URI:LIT:nbswy3dp".parse().unwrap(), None).unwrap();
        let files = (0..1700).map(|number| (format!("{number}").parse().unwrap(), file())).collect();
        let mut dir = world.client.make_immutable(files).await.unwrap();
        for _ in 0..250 {
            dir = world.client.make_immutable(vec![("x".repeat(255).parse().unwrap(), dir)]).await.unwrap();
        }
        let asked = json!({ "where": { "cap": dir.cap().to_string() }, "as": "zip" });
        let url = world.post("/api/tickets", asked).await.ok().json()["url"].as_str().unwrap().to_owned();
        let request = world.request("GET", &url).body(Body::empty()).unwrap();
        let mut body = world.router.clone().oneshot(request).await.unwrap().into_body();
        let mut len = 0;
        let broken = loop {
            match body.frame().await {
                Some(Ok(frame)) => len += frame.into_data().unwrap().len(),
                Some(Err(_)) => break true,
                None => break false,
            }
        };
        assert!(broken && len > 90 << 20, "{len} bytes came");
    });
}

#[test]
fn a_zip_that_cannot_be_finished_breaks_the_connection() {
    simulate(async {
        let mut world = World::new(24).await;
        world.put(&["d"], "a", &noise(1, 2_000_000)).await;
        world.put(&["d"], "b", &noise(2, 2_000_000)).await;
        let url = ticket(&world, &["d"], "zip").await;
        let request = world.request("GET", &url).body(Body::empty()).unwrap();
        let response = world.router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), 200);
        world.leave(1);
        assert!(to_bytes(response.into_body(), usize::MAX).await.is_err(), "a part looks like the whole");
    });
}
