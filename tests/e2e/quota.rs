//! A quota is set, used up, shown, and given back by nothing but the server's owner.

use crate::grid::{Grid, noise};

#[test]
fn a_quota_is_enforced_and_told() {
    let mut grid = Grid::prepare(2, "1/2/2");
    for server in &grid.servers {
        server.configure("# quota = \"100G\"", "quota = \"1M\"");
    }
    grid.servers.iter_mut().for_each(|server| server.start());
    grid.client.run(["status"]).ok();
    let (fits, large) = (grid.file("fits", 71, 400_000), grid.file("large", 72, 700_000));
    let cap = grid.client.put(&fits);
    let used = grid.client.run(["usage", "--json"]).ok().json();
    let servers = used["servers"].as_array().unwrap();
    assert_eq!(servers.len(), 2, "{used}");
    for server in servers {
        let bytes = server["used"].as_u64().unwrap();
        assert!((400_000..410_000).contains(&bytes), "{used}");
        assert_eq!(
            (server["quota"].as_u64(), server["stores"][0]["used"].as_u64()),
            (Some(1_000_000), Some(bytes))
        );
    }
    assert_eq!(used["used"].as_u64(), servers.iter().map(|server| server["used"].as_u64()).sum());
    let text = grid.client.run(["usage"]).ok().text();
    assert!(text.contains("of 1.0 MB") && text.contains("on 2 of 2 servers"), "{text}");
    let put = |file: &std::path::Path| grid.client.run(["put".as_ref(), file.as_os_str()]);
    put(&large).fails(6, &["quota is used up", "hint: this account has used up its quota"]);
    // What is stored already costs nothing, and everything is read as ever.
    assert_eq!(grid.client.put(&fits), cap);
    assert!(grid.client.get(&cap) == noise(71, 400_000));
    // Small ones and directories too, as long as there is something left of it.
    let mut made = 0;
    let refused = (0..20).map(|_| grid.client.run(["mkdir"])).find(|ran| {
        made += 1;
        ran.code != Some(0)
    });
    refused.expect("slots are charged").fails(6, &["hint: this account has used up its quota"]);
    assert!((6..=10).contains(&made), "{made}");
    // One that does not answer is named, and the rest is told.
    grid.servers[1].stop();
    let partly = grid.client.run(["usage"]);
    assert_eq!(partly.code, Some(3), "{}", partly.err);
    assert!(partly.text().contains("on 1 of 2 servers"), "{}", partly.text());
}
