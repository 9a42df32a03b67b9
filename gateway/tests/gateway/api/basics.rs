//! Aliases, directories, moving, copying, deleting, undoing.

use serde_json::{Value, json};

use super::support::{TOKEN, World, simulate};

#[test]
fn directories_are_made_listed_and_described() {
    simulate(async {
        let world = World::new(1).await;
        let entry = world.mkdir(&[], "photos").await;
        assert_eq!(
            (&entry["kind"], &entry["name"], &entry["writable"]),
            (&json!("dir"), &json!("photos"), &json!(true))
        );
        world.put(&["photos"], "a.jpg", &[7; 3000]).await;
        world.put(&[], "hello.txt", b"hello").await;
        let lines = world.post("/api/list", json!({ "where": world.at(&[]) })).await.ok();
        assert_eq!(lines.header("content-type"), "application/x-ndjson");
        let lines = lines.lines();
        assert_eq!(
            (&lines[0]["dir"]["writable"], &lines[0]["dir"]["confirmed"]),
            (&json!(true), &json!(true))
        );
        assert_eq!(lines[0]["dir"]["cap"], world.root);
        assert!(lines[0]["dir"]["read"].as_str().unwrap().starts_with("URI:DIR2-RO:"));
        assert!(lines[0]["dir"]["verify"].as_str().unwrap().starts_with("URI:DIR2-Verifier:"));
        assert_eq!(
            (&lines[1]["name"], &lines[1]["kind"], &lines[1]["size"]),
            (&json!("hello.txt"), &json!("file"), &json!(5))
        );
        assert_eq!(lines[3], json!({ "end": true, "count": 2 }));
        let stat =
            world.post("/api/stat", json!({ "where": world.at(&["photos", "a.jpg"]) })).await.ok().json();
        assert_eq!((&stat["size"], &stat["mime"]), (&json!(3000), &json!("image/jpeg")));
        assert!(stat["verify"].as_str().unwrap().starts_with("URI:CHK-Verifier:"));
        // A reader sees no capability that writes.
        let read = lines[0]["dir"]["read"].as_str().unwrap();
        let by_reader = world.list(json!({ "cap": read })).await;
        assert!(by_reader.iter().all(|entry| entry["writable"] == false), "{by_reader:?}");
        assert!(by_reader[1]["cap"].as_str().unwrap().starts_with("URI:DIR2-RO:"));
    });
}

#[test]
fn a_list_says_that_no_quorum_confirmed_it() {
    simulate(async {
        let mut world = World::new(39).await;
        world.put(&[], "note", b"1").await;
        world.leave(2);
        let lines = world.post("/api/list", json!({ "where": world.at(&[]) })).await.ok().lines();
        assert_eq!(
            (&lines[0]["dir"]["confirmed"], &lines[1]["name"]),
            (&json!(false), &json!("note")),
            "{lines:?}"
        );
    });
}

#[test]
fn what_may_not_be_done_is_refused_by_name() {
    simulate(async {
        let mut world = World::new(2).await;
        world.mkdir(&[], "sub").await;
        world.put(&[], "file", b"x").await;
        let list = async |place: Value| world.post("/api/list", json!({ "where": place })).await;
        list(world.at(&["nothing"])).await.refuses(404, "not-found");
        list(world.at(&["file"])).await.refuses(400, "not-a-directory");
        list(world.at(&["file", "x"])).await.refuses(400, "not-a-directory");
        list(json!({ "cap": "nonsense" })).await.refuses(400, "bad-cap");
        list(json!({ "cap": world.root, "path": ["../x"] })).await.refuses(400, "bad-name");
        list(json!({ "cap": world.root, "path": vec!["x"; 2000] })).await.refuses(400, "too-deep");
        world.post("/api/list", json!({ "elsewhere": 1 })).await.refuses(400, "bad-request");
        let mkdir = |place: Value, name: &str| json!({ "where": place, "name": name });
        world.post("/api/mkdir", mkdir(world.at(&[]), "sub")).await.refuses(409, "exists");
        world.post("/api/mkdir", mkdir(world.at(&[]), "..")).await.refuses(400, "bad-name");
        let read = world.post("/api/share", json!({ "where": world.at(&[]) })).await.ok().json();
        let (read, verify) = (read["caps"][0]["cap"].clone(), read["caps"][2]["cap"].clone());
        world.post("/api/mkdir", mkdir(json!({ "cap": read }), "x")).await.refuses(403, "read-only");
        list(json!({ "cap": verify })).await.refuses(403, "not-readable");
        let delete = json!({ "where": { "cap": read }, "names": ["sub"] });
        world.post("/api/delete", delete).await.refuses(403, "read-only");
        // A form of another site's page can send this.
        let form = world.request("POST", "/api/list").header("content-type", "text/plain");
        let body = json!({ "where": world.at(&[]) }).to_string();
        world.send(form.body(body.into()).unwrap()).await.refuses(415, "media-type");
        let long = json!({ "where": world.at(&[]), "name": "x".repeat(2 << 20) });
        world.post("/api/mkdir", long).await.refuses(413, "too-large");
        world.leave(2);
        world.post("/api/mkdir", mkdir(world.at(&[]), "late")).await.refuses(503, "too-few-servers");
    });
}

#[test]
fn a_token_authorises_what_no_capability_does() {
    simulate(async {
        let world = World::new(3).await;
        for path in ["/api/nothing", "/api/list/more"] {
            world.get(path).await.refuses(404, "not-found");
        }
        let other = world.get("/api/list").await;
        other.refuses(405, "method");
        assert_eq!(other.header("allow"), "POST");
        for cap in ["", "hello", "URI:DIR2:abc", "URI:CHK:abc:def:3:10:1"] {
            let at = json!({ "where": { "cap": cap } });
            world.post("/api/list", at).await.refuses(400, "bad-cap");
        }
        let unknown = json!({ "where": { "cap": "URI:NEW:abc" } });
        world.post("/api/list", unknown).await.refuses(400, "not-a-directory");
        for path in ["/api/aliases", "/api/grid", "/api/events"] {
            world.get(path).await.refuses(401, "no-token");
        }
        world.post("/api/newroot", json!({ "alias": "mine" })).await.refuses(401, "no-token");
        assert_eq!(world.get_with_token("/api/aliases").await.ok().json(), json!({ "aliases": [] }));
        // The scheme's case says nothing (RFC 9110, section 11.1).
        let lower = [("authorization", &*format!("bearer {TOKEN}"))];
        world.ask("GET", "/api/aliases", &lower, axum::body::Body::empty()).await.is(200);
        let made = world.post_with_token("/api/newroot", json!({ "alias": "mine" })).await.ok().json();
        let aliases = world.get_with_token("/api/aliases").await.ok().json();
        let share = world.post("/api/share", json!({ "where": { "cap": made["cap"] } })).await.ok().json();
        let (cap, read) = (&made["cap"], &share["caps"][0]["cap"]);
        let wanted = json!([{ "name": "mine", "cap": cap, "read": read, "writable": true }]);
        assert_eq!(aliases["aliases"], wanted);
        world.post_with_token("/api/newroot", json!({ "alias": "mine" })).await.refuses(409, "exists");
        world.post_with_token("/api/newroot", json!({ "alias": "a/b" })).await.refuses(400, "bad-name");
        assert_eq!(world.list(json!({ "cap": made["cap"] })).await.len(), 0);
        assert!(world.dir.path().join("client/private/aliases").exists());
    });
}

#[test]
fn entries_are_moved_renamed_and_copied() {
    simulate(async {
        let world = World::new(4).await;
        for name in ["a", "b", "c"] {
            world.mkdir(&[], name).await;
        }
        world.put(&["a"], "one", b"1").await;
        world.put(&["a"], "two", b"2").await;
        world.put(&["b"], "two", b"other").await;
        let go = |from: &[&str], names: Value, to: &[&str]| json!({ "from": world.at(from), "names": names, "to": world.at(to) });
        let moved = world.post("/api/move", go(&["a"], json!(["one", "two"]), &["b"])).await.ok().json();
        assert_eq!(moved["moved"], json!(["one"]));
        assert_eq!(
            (&moved["problems"][0]["name"], &moved["problems"][0]["problem"]["code"]),
            (&json!("two"), &json!("exists"))
        );
        assert_eq!(
            (world.names(&["a"]).await, world.names(&["b"]).await),
            (vec!["two".to_owned()], vec!["one".into(), "two".into()])
        );
        world.post("/api/move", go(&["a"], json!(["two"]), &["b"])).await.refuses(409, "exists");
        let mut replacing = go(&["a"], json!(["two"]), &["b"]);
        replacing["replace"] = true.into();
        world.post("/api/move", replacing).await.ok();
        let mut renaming = go(&["b"], json!(["two"]), &["b"]);
        renaming["rename"] = "zwei".into();
        world.post("/api/move", renaming).await.ok();
        assert_eq!(world.names(&["b"]).await, ["one", "zwei"]);
        world.post("/api/move", go(&["b"], json!(["gone"]), &["a"])).await.refuses(404, "not-found");
        world.post("/api/move", go(&[], json!(["a"]), &["a"])).await.refuses(409, "into-itself");
        world.post("/api/copy", go(&["b"], json!([]), &["a"])).await.refuses(400, "bad-request");
        let copied = world.post("/api/copy", go(&[], json!(["b"]), &["c"])).await.ok().json();
        assert_eq!(copied["copied"], json!(["b"]));
        assert!(copied["detail"].as_str().unwrap().contains("same one"));
        assert_eq!(world.names(&["c", "b"]).await, ["one", "zwei"]);
        assert_eq!(world.names(&[]).await, ["a", "b", "c"]);
    });
}

#[test]
fn what_was_deleted_can_be_put_back_once_and_for_a_while() {
    simulate(async {
        let world = World::new(5).await;
        world.mkdir(&[], "sub").await;
        world.put(&["sub"], "kept", b"kept").await;
        world.put(&[], "file", b"file").await;
        let before = world.list(world.at(&[])).await;
        let delete = json!({ "where": world.at(&[]), "names": ["sub", "file"] });
        let deleted = world.post("/api/delete", delete.clone()).await.ok().json();
        assert_eq!(deleted["deleted"], json!(["sub", "file"]));
        assert_eq!(world.names(&[]).await, [""; 0]);
        world.post("/api/delete", delete.clone()).await.refuses(404, "not-found");
        let undo = json!({ "undo": deleted["undo"] });
        world.post("/api/undo", undo.clone()).await.ok();
        let after = world.list(world.at(&[])).await;
        let caps = |entries: &[Value]| entries.iter().map(|entry| entry["cap"].clone()).collect::<Vec<_>>();
        assert_eq!(caps(&after), caps(&before), "other capabilities, or weaker ones");
        assert_eq!(world.names(&["sub"]).await, ["kept"]);
        world.post("/api/undo", undo).await.refuses(404, "not-found");
        let deleted = world.post("/api/delete", delete).await.ok().json();
        tokio::time::sleep(std::time::Duration::from_secs(601)).await;
        world.post("/api/undo", json!({ "undo": deleted["undo"] })).await.refuses(404, "not-found");
        // Somebody else's file of that name stays.
        world.put(&[], "file", b"new").await;
        let deleted =
            world.post("/api/delete", json!({ "where": world.at(&[]), "names": ["file"] })).await.ok().json();
        world.put(&[], "file", b"newer").await;
        let undo = json!({ "undo": deleted["undo"] });
        world.post("/api/undo", undo.clone()).await.refuses(409, "exists");
        // Once that is out of the way, it can still be put back.
        let away =
            json!({ "from": world.at(&[]), "names": ["file"], "to": world.at(&[]), "rename": "newer" });
        world.post("/api/move", away).await.ok();
        assert_eq!(world.post("/api/undo", undo.clone()).await.ok().json()["restored"], json!(["file"]));
        assert_eq!(world.names(&[]).await, ["file", "newer"]);
        world.post("/api/undo", undo).await.refuses(404, "not-found");
        // One name that is gone already keeps none of the others.
        let delete = json!({ "where": world.at(&[]), "names": ["file", "gone", "newer"] });
        let deleted = world.post("/api/delete", delete).await.ok().json();
        assert_eq!(deleted["deleted"], json!(["file", "newer"]));
        assert_eq!(deleted["problems"][0]["name"], "gone");
        assert_eq!(deleted["problems"][0]["problem"]["code"], "not-found");
        world.put(&[], "newer", b"in the way").await;
        let undo = json!({ "undo": deleted["undo"] });
        let undone = world.post("/api/undo", undo).await.ok().json();
        assert_eq!(
            (&undone["restored"], &undone["problems"][0]["name"]),
            (&json!(["file"]), &json!("newer"))
        );
    });
}
