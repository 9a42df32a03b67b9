//! Shares, maps, checks, search, the grid, events, and the document that describes all of it.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::body::Body;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::support::{TOKEN, World, noise, simulate};

#[test]
fn what_can_be_passed_on_says_what_it_grants() {
    simulate(async {
        let world = World::new(30).await;
        world.put(&[], "file", &noise(1, 1000)).await;
        let caps = world.post("/api/share", json!({ "where": world.at(&[]) })).await.ok().json();
        let kinds: Vec<&str> =
            caps["caps"].as_array().unwrap().iter().map(|cap| cap["kind"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["read", "write", "verify", "repair"]);
        assert_eq!((&caps["caps"][0]["writes"], &caps["caps"][1]["writes"]), (&json!(false), &json!(true)));
        assert_eq!(caps["caps"][1]["cap"], world.root);
        assert!(caps["caps"][3]["cap"].as_str().unwrap().starts_with("URI:SARSEN-REPAIR:"));
        let file = world.post("/api/share", json!({ "where": world.at(&["file"]) })).await.ok().json();
        assert_eq!(file["caps"].as_array().unwrap().len(), 2);
        let code = world.post("/api/qr", json!({ "text": world.root })).await.ok();
        assert_eq!(code.header("content-type"), "image/svg+xml");
        assert!(code.text().contains("<svg") && !code.text().contains("URI:"));
        world.post("/api/qr", json!({ "text": "x".repeat(3000) })).await.refuses(413, "too-large");
    });
}

#[test]
fn the_map_shows_who_holds_what_and_who_answers() {
    simulate(async {
        let mut world = World::new(31).await;
        world.put(&[], "file", &noise(1, 100_000)).await;
        world.put(&[], "tiny", b"tiny").await;
        let map = async |world: &World, path: &[&str]| {
            world.post("/api/map", json!({ "where": world.at(path) })).await.ok().json()
        };
        let file = map(&world, &["file"]).await;
        assert_eq!((&file["k"], &file["n"], &file["happy"]), (&json!(3), &json!(10), &json!(7)));
        assert_eq!(file["shares"].as_array().unwrap().len(), 10);
        let servers: BTreeSet<&str> =
            file["servers"].as_array().unwrap().iter().map(|server| server["id"].as_str().unwrap()).collect();
        assert!(
            file["shares"]
                .as_array()
                .unwrap()
                .iter()
                .all(|share| servers.contains(share["servers"][0].as_str().unwrap()))
        );
        assert!(file["servers"].as_array().unwrap().iter().all(|server| server["answers"] == true));
        let dir = map(&world, &[]).await;
        assert_eq!(dir["kind"], "dir");
        assert!(dir["members"].as_array().unwrap().iter().all(|id| servers.contains(id.as_str().unwrap())));
        assert!(dir["quorum"].as_u64().unwrap() as usize <= dir["members"].as_array().unwrap().len());
        assert_eq!(map(&world, &["tiny"]).await["kind"], "literal");
        world.grid.kill(3);
        tokio::time::sleep(Duration::from_secs(5)).await;
        let file = map(&world, &["file"]).await;
        assert_eq!(
            file["servers"].as_array().unwrap().iter().filter(|server| server["answers"] == false).count(),
            1
        );
        assert_eq!(file["shares"].as_array().unwrap().len(), 9);
        // A gateway that never read the directory, and now cannot, still shows who is left.
        let stranger = world.grid.client("3/7/10").await;
        let settings = crate::common::settings("127.0.0.1:3456".parse().unwrap());
        world.router = gateway::router(gateway::Gateway::new(stranger, settings));
        world.leave(0);
        tokio::time::sleep(Duration::from_secs(5)).await;
        let dir = map(&world, &[]).await;
        assert_eq!((&dir["kind"], &dir["members"]), (&json!("dir"), &json!([])), "{dir}");
        assert!(dir["servers"].as_array().unwrap().iter().all(|server| server["answers"] == false), "{dir}");
        assert!(dir["detail"].is_string(), "{dir}");
    });
}

#[test]
fn the_map_of_a_large_file_shows_its_pieces() {
    simulate(async {
        let mut world = World::new(38).await;
        // Twelve servers and ten shares: pieces are on different ones.
        world.grid.add_server(None).await;
        world.grid.add_server(None).await;
        world.client.refresh().await;
        let options = client::PutOptions { chunked: true, ..Default::default() };
        world.put_as(&[], "large", &noise(8, 17_000_000), options).await;
        let map = async |world: &World, place: Value| {
            world.post("/api/map", json!({ "where": place })).await.ok().json()
        };
        // How many pieces can be read of those servers.
        let readable = |map: &Value, on: &dyn Fn(usize) -> bool| -> u64 {
            let is_here =
                |share: &&Value| share.as_array().unwrap().iter().any(|at| on(at.as_u64().unwrap() as usize));
            let groups = map["pieces"]["groups"].as_array().unwrap().iter();
            let whole = groups.filter(|group| {
                let here = group["holders"].as_array().unwrap().iter().filter(is_here).count();
                here as u64 >= group["k"].as_u64().unwrap()
            });
            whole.map(|group| group["count"].as_u64().unwrap()).sum()
        };
        let large = map(&world, world.at(&["large"])).await;
        let pieces = &large["pieces"];
        let total = pieces["total"].as_u64().unwrap();
        assert!(total > 8, "the root and chunks of a megabyte: {pieces}");
        assert_eq!((&pieces["looked_at"], &pieces["closed"]), (&json!(total), &json!(0)));
        assert!(pieces["groups"].as_array().unwrap().len() > 1, "{pieces}");
        let servers = large["servers"].as_array().unwrap();
        let held: u64 = servers.iter().map(|server| server["pieces"].as_u64().unwrap()).sum();
        assert_eq!(held, total * 10);
        assert_eq!((readable(&large, &|_| true), readable(&large, &|at| at < 2)), (total, 0));
        // Two servers have no share of a piece: where only three answer, some pieces can be read and others not.
        let some = readable(&large, &|at| at < 3);
        assert!(0 < some && some < total, "{some} of {total}");
        // Who may only verify it learns of no chunk, and is told so.
        let caps = world.post("/api/share", json!({ "where": world.at(&["large"]) })).await.ok().json();
        let verify = caps["caps"].as_array().unwrap().iter().find(|cap| cap["kind"] == "verify").unwrap();
        let closed = map(&world, json!({ "cap": verify["cap"] })).await;
        let told = (&closed["pieces"]["looked_at"], &closed["pieces"]["closed"]);
        assert_eq!(told, (&json!(1), &json!(1)), "{closed}");
        // What it is made of stays known when too few servers are left to read it.
        let read = json!({ "cap": caps["caps"][0]["cap"] });
        map(&world, read.clone()).await;
        world.leave(0);
        tokio::time::sleep(Duration::from_secs(5)).await;
        let left = map(&world, read).await;
        assert_eq!((&left["pieces"]["total"], readable(&left, &|_| true)), (&json!(total), 0), "{left}");
    });
}

#[test]
fn a_check_names_what_is_ill_and_a_repair_mends_it() {
    simulate(async {
        let mut world = World::new(32).await;
        world.put(&["sub"], "file", &noise(1, 100_000)).await;
        // A lone writer's changes reach the last members a little later.
        tokio::time::sleep(Duration::from_secs(60)).await;
        let check = |repair: bool| json!({ "where": world.root_at(), "deep": true, "repair": repair, "verify": "claimed" });
        let lines = world.post("/api/check", check(false)).await.ok().lines();
        let result = &lines.last().unwrap()["result"];
        assert_eq!((&result["healthy"], &result["problems"]), (&json!(3), &json!([])));
        let check = check(true);
        world.grid.add_server(None).await;
        world.grid.kill(0);
        world.client.refresh().await;
        tokio::time::sleep(Duration::from_secs(60)).await;
        let mut seen = check.clone();
        seen["repair"] = false.into();
        let lines = world.post("/api/check", seen).await.ok().lines();
        let result = lines.last().unwrap()["result"].clone();
        assert!(result["unhealthy"].as_u64().unwrap() > 0, "{result}");
        let paths: Vec<&Value> =
            result["problems"].as_array().unwrap().iter().map(|problem| &problem["path"]).collect();
        assert!(paths.contains(&&json!(["sub", "file"])), "{result}");
        let lines = world.post("/api/check", check).await.ok().lines();
        let result = lines.last().unwrap()["result"].clone();
        assert!(result["repaired"].as_u64().unwrap() > 0, "{result}");
        world.post("/api/check", json!({ "where": world.at(&["no"]) })).await.refuses(404, "not-found");
        // Who may only verify the directory hears that nothing below it was looked at.
        let caps = world.post("/api/share", json!({ "where": world.at(&[]) })).await.ok().json();
        let root = json!({ "where": { "cap": caps["caps"][2]["cap"] }, "deep": true });
        let lines = world.post("/api/check", root).await.ok().lines();
        assert_eq!(lines.last().unwrap()["result"]["root_only"], 1, "{lines:?}");
    });
}

#[test]
fn names_are_found_whatever_their_case() {
    simulate(async {
        let world = World::new(33).await;
        world.put(&["a", "b"], "Urlaub ÄGYPTEN.jpg", b"1").await;
        world.put(&["a"], "notes", b"2").await;
        let search = async |query: &str| {
            let asked = json!({ "where": world.at(&[]), "query": query });
            world.post("/api/search", asked).await.ok().lines()
        };
        let found = search("ägypten").await;
        assert_eq!(found.len(), 2);
        assert_eq!(found[0]["path"], json!(["a", "b", "Urlaub ÄGYPTEN.jpg"]));
        assert_eq!(found[0]["entry"]["kind"], "file");
        assert_eq!(found[1], json!({ "end": true, "truncated": false }));
        assert_eq!(search("nothing of this").await.len(), 1);
        world
            .post("/api/search", json!({ "where": world.at(&[]), "query": " " }))
            .await
            .refuses(400, "bad-request");
    });
}

#[test]
fn the_grid_is_told_as_it_is() {
    simulate(async {
        let mut world = World::new(34).await;
        let grid = world.get_with_token("/api/grid").await.ok().json();
        assert_eq!(grid["servers"].as_array().unwrap().len(), 10);
        assert!(
            grid["servers"]
                .as_array()
                .unwrap()
                .iter()
                .all(|server| server["state"] == "up" && server["answers"] == true)
        );
        // It is what `sarsen status` says, and who has room in every zone fills alike.
        let (status, usage) = tokio::join!(world.client.status(), world.client.usage());
        assert_eq!(grid["can_store"], world.client.room(&status, &usage));
        assert!(grid["can_store"].as_u64().unwrap() > 1 << 30);
        assert_eq!((&grid["k"], &grid["happy"], &grid["n"]), (&json!(3), &json!(7), &json!(10)));
        assert_eq!(grid["introducers"][0]["answers"], true);
        assert_eq!(world.get("/healthz").await.ok().text(), "ok\n");
        assert_eq!(world.get("/readyz").await.ok().json()["ready"], true);
        // The account's key was read once, when the gateway began.
        let account = grid["account"]["id"].as_str().expect("the account is told of").to_owned();
        std::fs::remove_dir_all(world.dir.path().join("client")).unwrap();
        world.leave(5);
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(world.get("/readyz").await.status, 503);
        let grid = world.get_with_token("/api/grid").await.ok().json();
        let away = grid["servers"].as_array().unwrap().iter().filter(|server| server["state"] == "away");
        assert_eq!(away.count(), 5);
        assert_eq!((&grid["account"]["id"], &grid["can_store"]), (&json!(account), &json!(0)));
    });
}

#[test]
fn events_and_transfers_come_as_they_happen() {
    simulate(async {
        let world = World::new(35).await;
        let request = world.request("GET", "/api/events").header("authorization", format!("Bearer {TOKEN}"));
        let response = world.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let mut body = response.into_body();
        let mut lines = Vec::new();
        let mut gather = async |lines: &mut Vec<Value>| {
            let frame = body.frame().await.unwrap().unwrap().into_data().unwrap();
            let text = String::from_utf8(frame.to_vec()).unwrap();
            lines.extend(text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()));
        };
        gather(&mut lines).await;
        assert!(lines.iter().any(|line| line["transfers"] == json!([])), "{lines:?}");
        let check = json!({ "where": world.at(&[]), "deep": true });
        world.post("/api/check", check).await.ok();
        for _ in 0..4 {
            gather(&mut lines).await;
        }
        let event = lines.iter().find(|line| line["event"]["kind"] == "check").expect("the check is told of");
        assert!(event["event"]["text"].as_str().unwrap().contains("1 healthy"), "{event}");
    });
}

#[test]
fn what_goes_through_tahoes_routes_is_seen_too() {
    simulate(async {
        let world = World::new(37).await;
        let data = noise(7, 20_000_000);
        let path = format!("/uri/{}/film", world.root);
        world.ask("PUT", &path, &[], data.clone()).await.is(201);
        let status = async || world.ask("GET", "/status?t=json", &[], Body::empty()).await.is(200).json();
        let up = status().await["recent"][0].clone();
        assert_eq!((&up["type"], &up["status"]), (&json!("upload"), &json!("Finished")), "{up}");
        let metrics = world.get("/metrics").await.ok().text();
        assert!(metrics.contains("sarsen_gateway_sent_bytes_total 20000000\n"), "{metrics}");
        let request = world.request("GET", &path).body(Body::empty()).unwrap();
        let mut body = world.router.clone().oneshot(request).await.unwrap().into_body();
        let mut got = 0;
        while got < 8_000_000 {
            got += body.frame().await.unwrap().unwrap().into_data().unwrap().len();
        }
        let down = status().await["active"][0].clone();
        assert_eq!((&down["type"], &down["status"]), (&json!("download"), &json!("Working")), "{down}");
        assert_eq!(down["total-size"], 20_000_000);
        let events = world.request("GET", "/api/events").header("authorization", format!("Bearer {TOKEN}"));
        let events = world.router.clone().oneshot(events.body(Body::empty()).unwrap()).await.unwrap();
        let first = events.into_body().frame().await.unwrap().unwrap().into_data().unwrap();
        assert!(String::from_utf8_lossy(&first).contains("\"name\":\"film\""), "{first:?}");
        drop(body);
        let (now, metrics) = (status().await, world.get("/metrics").await.ok().text());
        assert_eq!((&now["active"], &now["recent"][0]["status"]), (&json!([]), &json!("Failed")), "{now}");
        assert!(!metrics.contains("sarsen_gateway_received_bytes_total 0\n"), "{metrics}");
        assert!(world.ask("GET", &path, &[], Body::empty()).await.is(200).body == data);
        assert_eq!(status().await["recent"][0]["status"], "Finished");
        let counted = world.ask("GET", "/statistics?t=json", &[], Body::empty()).await.is(200).json();
        let wanted = json!({ "uploader.files_uploaded": 1, "downloader.files_downloaded": 1 });
        assert_eq!(counted["counters"], wanted);
    });
}

#[test]
fn the_document_names_every_method_and_no_other() {
    simulate(async {
        let world = World::new(36).await;
        let document = world.get("/api/openapi.json").await.ok().json();
        assert_eq!(document["openapi"], "3.1.0");
        let described = document["paths"].as_object().unwrap();
        for (path, _) in described {
            let path = path.replace("{id}", "x").replace("{name}", "x");
            for method in ["GET", "POST", "PATCH", "DELETE", "PUT", "OPTIONS"] {
                let request = world.request(method, &path).body(Body::empty()).unwrap();
                let answer = world.send_quietly(request).await;
                let operations = &described[&document_path(&path)];
                let is_described = operations.get(method.to_lowercase()).is_some();
                assert_eq!(answer != 405, is_described, "{method} {path}: {answer}");
            }
        }
    });
}

/// The pattern of a path that was filled in.
fn document_path(path: &str) -> String {
    match path {
        "/t/x/x" => "/t/{id}/{name}".into(),
        "/api/uploads/x" => "/api/uploads/{id}".into(),
        path => path.into(),
    }
}
