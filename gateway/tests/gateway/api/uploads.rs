//! Resumable uploads.

use std::io;
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use bytes::Bytes;
use data_encoding::{BASE64, BASE64URL_NOPAD};
use serde_json::{Value, json};

use super::support::{Answer, World, noise, simulate};

const LARGE: usize = 9 << 20;

async fn create(world: &World, place: Value, name: &str, len: usize, more: &str) -> Answer {
    let place = BASE64URL_NOPAD.encode(place.to_string().as_bytes());
    let metadata = format!("filename {}{more}", BASE64.encode(name.as_bytes()));
    let request = world.request("POST", "/api/uploads").header("tus-resumable", "1.0.0");
    let request = request
        .header("upload-length", len)
        .header("sarsen-where", place)
        .header("upload-metadata", metadata);
    world.send(request.body(Body::empty()).unwrap()).await
}

fn patch(world: &World, at: &str, offset: usize, body: Body) -> Request<Body> {
    let request = world.request("PATCH", at).header("tus-resumable", "1.0.0").header("upload-offset", offset);
    request.header("content-type", "application/offset+octet-stream").body(body).unwrap()
}

async fn head(world: &World, at: &str) -> Answer {
    world.send(world.request("HEAD", at).header("tus-resumable", "1.0.0").body(Body::empty()).unwrap()).await
}

/// A body that breaks off after these bytes.
fn breaking(data: Vec<u8>) -> Body {
    struct Breaking(Option<Bytes>);
    impl http_body::Body for Breaking {
        type Data = Bytes;
        type Error = io::Error;
        fn poll_frame(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<io::Result<http_body::Frame<Bytes>>>> {
            let next = self.0.take().map(http_body::Frame::data);
            std::task::Poll::Ready(Some(next.ok_or(io::ErrorKind::ConnectionReset.into())))
        }
    }
    Body::new(Breaking(Some(data.into())))
}

async fn read(world: &World, path: &[&str]) -> Vec<u8> {
    let ticket = json!({ "where": world.at(path), "as": "download" });
    let ticket = world.post("/api/tickets", ticket).await.ok().json();
    world.get(ticket["url"].as_str().unwrap()).await.ok().body
}

fn entry(answer: &Answer) -> Value {
    serde_json::from_slice(&BASE64URL_NOPAD.decode(answer.header("sarsen-entry").as_bytes()).unwrap())
        .unwrap()
}

#[test]
fn an_upload_goes_on_where_it_stopped_and_is_linked_when_all_is_there() {
    simulate(async {
        let world = World::new(10).await;
        for (name, len) in [("small", 300_000), ("large", LARGE)] {
            let data = noise(len as u64, len);
            let modified = format!(",modified {}", BASE64.encode(b"1700000000"));
            let created = create(&world, world.at(&[]), name, len, &modified).await.ok();
            assert_eq!(created.status, 201);
            let at = created.header("location").to_owned();
            let half = len / 2;
            let broken = world.send(patch(&world, &at, 0, breaking(data[..half].to_vec()))).await;
            broken.refuses(400, "broken-off");
            assert!(!world.names(&[]).await.contains(&name.to_owned()), "half a file is visible");
            // Servers wait as long as the gateway does.
            tokio::time::sleep(Duration::from_secs(530)).await;
            let state = head(&world, &at).await.ok();
            assert_eq!(state.header("upload-offset"), half.to_string());
            assert_eq!(state.header("upload-length"), len.to_string());
            world.send(patch(&world, &at, half + 1, Body::empty())).await.refuses(409, "offset");
            let done = world.send(patch(&world, &at, half, data[half..].to_vec().into())).await.ok();
            assert_eq!((done.status.as_u16(), done.header("upload-offset")), (204, &*len.to_string()));
            let linked = entry(&done);
            assert_eq!(
                (&linked["name"], &linked["size"], &linked["modified"]),
                (&json!(name), &json!(len), &json!(1_700_000_000))
            );
            assert!(read(&world, &[name]).await == data, "other bytes than were sent");
            // Who did not hear of it asks again.
            let again = world.send(patch(&world, &at, len, Body::empty())).await.ok();
            assert_eq!(entry(&again), linked);
            let listed = world.list(world.at(&[])).await;
            assert!(listed.iter().any(|entry| entry["cap"] == linked["cap"]));
        }
        let metrics = world.get("/metrics").await.ok().text();
        assert!(metrics.contains("sarsen_gateway_uploads_done_total 2\n"), "{metrics}");
        assert!(metrics.ends_with("# EOF\n"));
    });
}

#[test]
fn what_ends_early_leaves_nothing() {
    simulate(async {
        let world = World::new(11).await;
        for len in [1000, LARGE] {
            let at =
                create(&world, world.at(&[]), "given up", len, "").await.ok().header("location").to_owned();
            let half = noise(1, len / 2);
            world.send(patch(&world, &at, 0, half.clone().into())).await.ok();
            let delete = world.request("DELETE", &at).header("tus-resumable", "1.0.0");
            assert_eq!(world.send(delete.body(Body::empty()).unwrap()).await.status, 204);
            assert_eq!(head(&world, &at).await.status, 404);
            let at =
                create(&world, world.at(&[]), "forgotten", len, "").await.ok().header("location").to_owned();
            world.send(patch(&world, &at, 0, half.into())).await.ok();
            tokio::time::sleep(Duration::from_secs(1300)).await;
            let metrics = world.get("/metrics").await.ok().text();
            assert!(metrics.contains("sarsen_gateway_uploads 0\n"), "{metrics}");
            world.send(patch(&world, &at, len / 2, Body::empty())).await.refuses(404, "not-found");
        }
        assert_eq!(world.names(&[]).await, [""; 0]);
    });
}

/// A body that gives these bytes and then nothing, as of a phone in a tunnel.
fn stalling(data: Vec<u8>) -> Body {
    struct Stalling(Option<Bytes>);
    impl http_body::Body for Stalling {
        type Data = Bytes;
        type Error = io::Error;
        fn poll_frame(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<io::Result<http_body::Frame<Bytes>>>> {
            match self.0.take() {
                Some(data) => std::task::Poll::Ready(Some(Ok(http_body::Frame::data(data)))),
                None => std::task::Poll::Pending,
            }
        }
    }
    Body::new(Stalling(Some(data.into())))
}

#[test]
fn an_upload_is_paused_taken_up_and_given_up_while_its_connection_hangs() {
    simulate(async {
        let world = World::new(15).await;
        let data = noise(4, LARGE);
        let (third, most) = (LARGE / 3, LARGE / 2);
        let at = create(&world, world.at(&[]), "paused", LARGE, "").await.ok().header("location").to_owned();
        let hanging = world.send(patch(&world, &at, 0, stalling(data[..third].to_vec())));
        let asking = async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            head(&world, &at).await.ok()
        };
        let (hung, state) = tokio::join!(hanging, asking);
        hung.refuses(409, "taken-over");
        assert_eq!(state.header("upload-offset"), third.to_string());
        let rest = world.send(patch(&world, &at, third, stalling(data[third..most].to_vec())));
        let giving_up = async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            let delete = world.request("DELETE", &at).header("tus-resumable", "1.0.0");
            world.send(delete.body(Body::empty()).unwrap()).await
        };
        let (hung, given_up) = tokio::join!(rest, giving_up);
        hung.refuses(409, "taken-over");
        assert_eq!(given_up.status, 204);
        assert_eq!(head(&world, &at).await.status, 404);
        world.send(patch(&world, &at, most, data[most..].to_vec().into())).await.refuses(404, "not-found");
        let metrics = world.get("/metrics").await.ok().text();
        assert!(metrics.contains("sarsen_gateway_transfers 0\n"), "{metrics}");
        assert_eq!(world.names(&[]).await, [""; 0]);
    });
}

#[test]
fn uploads_are_refused_before_a_byte_is_sent() {
    simulate(async {
        let mut world = World::new(12).await;
        world.put(&[], "there", b"old").await;
        world.mkdir(&[], "sub").await;
        create(&world, world.at(&[]), "there", 3, "").await.refuses(409, "exists");
        create(&world, world.at(&[]), "sub", 3, ",replace dHJ1ZQ==").await.refuses(409, "exists");
        create(&world, world.at(&[]), "../x", 3, "").await.refuses(400, "bad-name");
        create(&world, world.at(&["nothing"]), "x", 3, "").await.refuses(404, "not-found");
        create(&world, json!({ "cap": 7 }), "x", 3, "").await.refuses(400, "bad-request");
        let shared = world.post("/api/share", json!({ "where": world.at(&[]) })).await.ok().json();
        let reader = json!({ "cap": shared["caps"][0]["cap"] });
        create(&world, reader, "x", 3, "").await.refuses(403, "read-only");
        let replaced = create(&world, world.at(&[]), "there", 3, ",replace dHJ1ZQ==").await.ok();
        let at = replaced.header("location");
        world.send(patch(&world, at, 0, "too long".into())).await.refuses(413, "too-large");
        world.send(patch(&world, at, 0, "new".into())).await.ok();
        assert_eq!(read_text(&world).await, "new");
        let empty = create(&world, world.at(&[]), "empty", 0, "").await.ok();
        assert_eq!(entry(&empty)["size"], 0);
        assert_eq!(world.names(&[]).await, ["empty", "sub", "there"]);
        let old = world.request("POST", "/api/uploads").header("tus-resumable", "0.2.2");
        world.send(old.body(Body::empty()).unwrap()).await.refuses(412, "tus-version");
        // Too few servers: the bytes are kept for another try.
        let at = create(&world, world.at(&[]), "late", 1000, "").await.ok().header("location").to_owned();
        world.leave(5);
        world.send(patch(&world, &at, 0, noise(3, 1000).into())).await.refuses(503, "too-few-servers");
        for index in 5..10 {
            world.grid.restart(index).await.unwrap();
        }
        tokio::time::sleep(Duration::from_secs(120)).await;
        world.send(patch(&world, &at, 1000, Body::empty())).await.ok();
        assert!(read(&world, &["late"]).await == noise(3, 1000));
    });
}

async fn read_text(world: &World) -> String {
    String::from_utf8(read(world, &["there"]).await).unwrap()
}

#[test]
fn uploads_that_are_done_make_room_and_those_that_wait_do_not() {
    simulate(async {
        let world = World::new(14).await;
        for number in 0..300 {
            create(&world, world.at(&[]), &format!("empty {number}"), 0, "").await.ok();
        }
        assert_eq!(world.names(&[]).await.len(), 300);
        for number in 0..256 {
            create(&world, world.at(&[]), &format!("waits {number}"), 10, "").await.ok();
        }
        create(&world, world.at(&[]), "one more", 10, "").await.refuses(503, "busy");
        assert_eq!(world.names(&[]).await.len(), 300);
    });
}

#[test]
fn a_mutable_file_keeps_its_capability() {
    simulate(async {
        let world = World::new(13).await;
        let file = world
            .client
            .make_mutable(client::Source::bytes("old"), client::PutOptions::default())
            .await
            .unwrap();
        let root = world.client.open_directory(&world.root.parse().unwrap()).await.unwrap();
        let link = client::filestore::DirEdit::Link {
            name: "notes".parse().unwrap(),
            child: Box::new(file.clone()),
            replace: client::filestore::Replace::No,
        };
        world.client.edit_entry(root.writer().unwrap(), link).await.unwrap();
        let at = create(&world, world.at(&[]), "notes", 5, ",replace dHJ1ZQ==")
            .await
            .ok()
            .header("location")
            .to_owned();
        let done = world.send(patch(&world, &at, 0, "newer".into())).await.ok();
        assert_eq!(entry(&done)["cap"], file.cap().to_string());
        assert_eq!(read(&world, &["notes"]).await, b"newer");
        let stat = world.post("/api/stat", json!({ "where": world.at(&["notes"]) })).await.ok().json();
        assert_eq!((&stat["kind"], &stat["size"]), (&json!("mutable"), &json!(5)));
    });
}
