//! Who is who: servers at the wrong address, introducers that are away or differ.

use crate::grid::{Client, Grid, eventually, noise, start_introducer, url};

#[test]
fn another_server_at_the_address_is_named_and_passed_over() {
    let mut grid = Grid::start(5, "2/3/5");
    let file = grid.file("file", 60, 800_000);
    let cap = grid.client.put(&file);
    // Two servers swap their addresses while nobody can tell the client.
    grid.introducer.kill();
    let (a, b) = (grid.servers[0].listen(), grid.servers[1].listen());
    grid.servers[..2].iter_mut().for_each(|server| server.stop());
    grid.servers[0].configure(&a, &b);
    grid.servers[1].configure(&b, &a);
    grid.servers[..2].iter_mut().for_each(|server| server.start());
    let ran = grid.client.run(["get", &cap]).ok();
    assert!(ran.out == noise(60, 800_000));
    for name in ["server0", "server1"] {
        let error = grid.client.status_of(name)["error"].as_str().unwrap().to_owned();
        assert!(error.contains("key"), "{name}: {error}");
    }
    let text = grid.client.run(["status"]).ok().text();
    assert!(text.contains("3 of 5 servers answer"), "{text}");
    let other = grid.file("other", 61, 800_000);
    let ran = grid.client.run(["put".as_ref(), other.as_os_str()]).ok();
    assert!(
        ran.err.contains("server0 (") && ran.err.contains("server1 (") && ran.err.contains("key"),
        "{}",
        ran.err
    );
    assert!(grid.client.get(&ran.line()) == noise(61, 800_000));
    // The introducer is back: the new addresses are learnt.
    grid.introducer.start();
    eventually("all are found again", || grid.client.connected() == 5);
}

#[test]
fn the_cache_serves_while_no_introducer_does() {
    let mut grid = Grid::start(3, "1/2/3");
    grid.introducer.kill();
    let ran = grid.client.run(["put".as_ref(), grid.file("file", 62, 70_000).as_os_str()]).ok();
    let note = format!("note: introducer {} does not answer", grid.introducer.listen());
    assert!(ran.err.contains(&note) && ran.err.contains("3 servers are known from before"), "{}", ran.err);
    let cap = ran.line();
    let ran = grid.client.run(["get", &cap]).ok();
    assert!(ran.out == noise(62, 70_000) && ran.err.contains(&note), "{}", ran.err);
    let quiet = grid.client.run(["-q", "get", &cap]).ok();
    assert_eq!(quiet.err, "");
    let status = grid.client.status();
    assert!(status["introducers"][0]["error"].is_string() && grid.client.connected() == 3, "{status}");
    // A cache that is damaged is made anew, as soon as an introducer answers.
    std::fs::write(grid.client.dir.join("servers.cache"), "rubbish").unwrap();
    grid.client.run(["get", &cap]).fails(5, &["no storage server is known"]);
    grid.introducer.start();
    eventually("the cache is filled again", || grid.client.connected() == 3);
    assert!(grid.client.get(&cap) == noise(62, 70_000));
}

#[test]
fn two_introducers_are_one_grid() {
    let mut grid = Grid::prepare(3, "1/2/3");
    let mut second = start_introducer(grid.path("second"));
    let urls = [url(&grid.introducer), url(&second)];
    // Server 0 announces itself to both, server 1 to the first, server 2 to the second.
    grid.servers[0].configure(&urls[0], &format!("{}\", \"{}", urls[0], urls[1]));
    grid.servers[2].configure(&urls[0], &urls[1]);
    grid.servers.iter_mut().for_each(|server| server.start());
    let client = Client::new(grid.path("both"), &urls, "1/2/3");
    eventually("the union is known", || client.connected() == 3);
    let text = client.run(["status"]).ok().text();
    for (introducer, stranger) in [(&grid.introducer, "server2"), (&second, "server1")] {
        let line = format!("{} does not name {stranger} (", introducer.listen());
        assert!(text.contains(&line), "{text}");
    }
    assert!(text.contains("3 of 3 servers answer"), "{text}");
    second.kill();
    let cap = client.put(&grid.file("file", 63, 70_000));
    grid.introducer.kill();
    let ran = client.run(["get", &cap]).ok();
    assert!(ran.out == noise(63, 70_000) && ran.err.matches("does not answer").count() == 2, "{}", ran.err);
    // Another key at an introducer's address is no introducer.
    second.start();
    let strange = urls[1].replace(&urls[1][9..12], if &urls[1][9..12] == "aaa" { "bbb" } else { "aaa" });
    let fooled = Client::new(grid.path("fooled"), &[strange], "1/2/3");
    let status = fooled.status();
    assert!(status["introducers"][0]["error"].is_string(), "{status}");
    assert!(status["servers"].as_array().unwrap().is_empty());
}

#[test]
fn a_server_that_is_gone_is_waited_for_once_and_can_be_forgotten() {
    let mut grid = Grid::start(3, "1/2/3");
    eventually("all are known", || grid.client.connected() == 3);
    grid.servers[0].kill();
    let missed = || {
        let ran = grid.client.run(["usage"]);
        assert_eq!(ran.code, Some(3), "{}", ran.err);
        assert!(ran.text().contains("used on 2 of 3 servers"), "{}", ran.text());
    };
    missed();
    let begun = std::time::Instant::now();
    missed();
    assert!(begun.elapsed().as_secs() < 3, "it was waited for again: {:?}", begun.elapsed());
    grid.client.run(["forget", "nobody"]).fails(4, &["knows no server nobody", "hint: `sarsen status`"]);
    grid.client.run(["forget", "server0"]).ok();
    let text = grid.client.run(["usage"]).ok().text();
    assert!(text.contains("used on 2 of 2 servers"), "{text}");
    // It comes back after all.
    grid.servers[0].start();
    eventually("it is known again", || grid.client.connected() == 3);
}
