//! The repair agent in simulated time: its schedule, its threshold, what it does without servers, and two of them at once.

use std::time::Duration;

use caps::Cap;
use client::agent::{Agent, AgentSettings, AgentState, Held, RootState};
use client::check::{CheckOptions, Grade, State};
use client::filestore::Child;
use client::slot::Freshness;
use client::{Client, DownloadError};
use testkit::disk::Survival;
use testkit::grid::SimGrid;
use tokio::time::sleep;

use crate::filestore::{file, link, names, writer};
use crate::slots::{add, create, read};
use crate::support::{SECOND, get, noise, put, reads_back, simulate, within};

const DAY: Duration = Duration::from_secs(86_400);

/// A directory with a directory and files of all sizes below it.
pub(crate) async fn tree(client: &Client) -> Child {
    let (top, below) = (client.make_directory().await.unwrap(), client.make_directory().await.unwrap());
    let (small, large) = (file(client, &noise(1, 3000)).await, file(client, &noise(2, 700_000)).await);
    client.edit_directory(&writer(&below), vec![link("large", &large)]).await.unwrap();
    let edits = vec![link("small", &small), link("below", &below)];
    client.edit_directory(&writer(&top), edits).await.unwrap();
    // Members that a lone writer left out are brought up.
    sleep(SECOND).await;
    top
}

pub(crate) async fn agent_with(client: &Client, cap: &Cap, settings: AgentSettings) -> Agent {
    let cap = client.repair_cap(cap).await.unwrap().unwrap();
    let mut agent = Agent::new(client.clone(), settings, AgentState::default());
    agent.hold(vec![Held { name: "tree".into(), cap: Ok(cap) }]);
    agent
}

/// Lets it work, and tells how long it wants to wait.
pub(crate) async fn due(agent: &mut Agent) -> Duration {
    within(SECOND * 3000, agent.visit_due(|_| ())).await
}

pub(crate) fn known(agent: &Agent) -> &RootState {
    &agent.state().roots["tree"]
}

#[test]
fn it_checks_each_day_and_fetches_all_each_month_and_brings_back_what_is_lost() {
    simulate(async {
        let mut grid = SimGrid::start(60, 0).await;
        grid.limits.tidy = SECOND * 3600;
        for _ in 0..13 {
            grid.add_server(None).await;
        }
        let owner = grid.client("3/7/10").await;
        let top = tree(&owner).await;
        let mut agent = agent_with(&grid.client("3/7/10").await, top.cap(), AgentSettings::default()).await;
        let mut waits = vec![due(&mut agent).await];
        let found = known(&agent).found;
        assert_eq!((found.objects, found.slots, found.healthy, found.leased), (2, 2, 4, 4), "{found:?}");
        assert!(known(&agent).checked.keys().eq(["claimed"]), "{:?}", known(&agent));
        assert_eq!(due(&mut agent).await, waits[0], "nothing is due");

        grid.kill(0);
        grid.kill(1);
        sleep(waits[0]).await;
        waits.push(due(&mut agent).await);
        let root = known(&agent);
        assert_eq!((root.found.repaired, root.found.unrecoverable), (2, 0), "{root:?}");
        assert_eq!((agent.state().servers, agent.state().silent), (13, 2));
        // What it cannot mend are members of slots: copies stand in for those.
        assert!(root.ill.values().all(|ill| ill.kind == "slot"), "{root:?}");
        assert_eq!(root.found.unhealthy as usize, root.ill.len());
        let lacking: u64 = root.ill.values().map(|ill| ill.total - ill.good).sum();
        assert_eq!(root.found.copies, lacking);
        let since = root.ill_since().unwrap();

        // The owner comes back and replaces them.
        let options = CheckOptions { grade: Grade::Claimed, repair: true, renew: None };
        let mended = owner.check_tree(vec![top.cap().clone()], options).finish().await;
        assert_eq!((mended.unhealthy, mended.unrecoverable), (0, 0), "{mended:?}");
        let ill = known(&agent).ill.len() as u64;
        sleep(waits[1]).await;
        waits.push(due(&mut agent).await);
        let root = known(&agent);
        assert_eq!((root.found.healthy, root.ill_since()), (4, None), "{root:?}");
        assert_eq!(root.healed, 2 + ill);
        assert!(root.longest_healed_s >= waits[1].as_secs() && since > 0, "{root:?}");

        for _ in 0..32 {
            sleep(*waits.last().unwrap()).await;
            waits.push(due(&mut agent).await);
        }
        assert!(known(&agent).checked.keys().eq(["claimed", "full"]), "{:?}", known(&agent));
        assert!(waits.iter().all(|wait| (DAY * 9 / 10..=DAY * 11 / 10).contains(wait)), "{waits:?}");
        waits.sort();
        waits.dedup();
        assert!(waits.len() > 20, "they differ at random");
    });
}

#[test]
fn few_missing_shares_are_left_alone_where_its_owner_says_so() {
    simulate(async {
        let mut grid = SimGrid::start(61, 14).await;
        let owner = grid.client("3/7/10").await;
        let report = put(&owner, &noise(61, 5000)).await.unwrap();
        let settings = AgentSettings { spare: 2, ..AgentSettings::default() };
        let mut agent = agent_with(&grid.client("3/7/10").await, &report.cap, settings).await;
        let holders: Vec<usize> = (0..10).map(|n| crate::support::holder(&grid, &report, n)).collect();
        for (lost, repaired) in [(2, 0), (3, 1)] {
            holders[..lost].iter().for_each(|server| grid.kill(*server));
            within(SECOND * 600, agent.visit_all(|_| ())).await;
            let root = known(&agent);
            assert_eq!((root.found.repaired, root.found.unhealthy), (repaired, 1 - repaired), "{root:?}");
            assert_eq!(root.ill.len() as u64, 1 - repaired);
        }
        let options = CheckOptions { grade: Grade::Claimed, repair: false, renew: None };
        let health = owner.check(&report.cap, options).await.unwrap().unwrap();
        assert_eq!((health.state, health.good), (State::Healthy, 10), "{health:?}");
    });
}

#[test]
fn what_rotted_is_found_when_all_is_fetched_and_made_anew() {
    simulate(async {
        let mut grid = SimGrid::start(62, 11).await;
        let owner = grid.client("3/7/10").await;
        let data = noise(62, 300_000);
        let report = put(&owner, &data).await.unwrap();
        let settings = AgentSettings { every: vec![(Grade::Full, DAY)], ..AgentSettings::default() };
        let mut agent = agent_with(&grid.client("3/7/10").await, &report.cap, settings).await;
        due(&mut agent).await;
        sleep(DAY * 2).await;
        // Not before, lest the servers' own scrub finds it first.
        for number in 0..3 {
            let disk = grid.servers[crate::support::holder(&grid, &report, number)].disk.clone();
            let (path, len) = disk.files().into_iter().find(|(path, _)| path.starts_with("shares/")).unwrap();
            assert!(disk.flip(&path, len as usize / 2));
        }
        due(&mut agent).await;
        let found = known(&agent).found;
        assert_eq!((found.bad_shares, found.repaired), (3, 1), "{found:?}");
        grid.announce_all().await;
        reads_back(&grid.client("3/7/10").await, &report.cap, &data).await;
    });
}

#[test]
fn without_servers_it_reports_and_tries_again_and_nothing_counts_as_lost() {
    simulate(async {
        let mut grid = SimGrid::start(63, 10).await;
        let owner = grid.client("3/7/10").await;
        let top = tree(&owner).await;
        let mut agent = agent_with(&grid.client("3/7/10").await, top.cap(), AgentSettings::default()).await;
        let usual = due(&mut agent).await;
        let healthy = known(&agent).found;
        (0..10).for_each(|server| grid.kill(server));
        sleep(usual).await;
        let mut waits = Vec::new();
        for _ in 0..4 {
            waits.push(due(&mut agent).await);
            sleep(*waits.last().unwrap()).await;
        }
        let root = known(&agent).clone();
        assert_eq!((root.failures, root.found, root.ill.len()), (4, healthy, 0));
        assert!(root.error.as_ref().unwrap().contains("0 of 10 servers"), "{root:?}");
        assert!(waits[0] < SECOND * 400, "{waits:?}");
        assert!(waits.windows(2).all(|pair| pair[0] < pair[1]), "longer each time: {waits:?}");
        for server in 0..10 {
            grid.restart(server).await.unwrap();
        }
        sleep(SECOND * 60).await;
        within(SECOND * 600, agent.visit_all(|_| ())).await;
        assert_eq!((known(&agent).failures, known(&agent).found), (0, healthy));
        assert_eq!(known(&agent).error, None);
    });
}

#[test]
fn a_bad_cap_is_told_of_and_keeps_no_other_root_from_being_checked() {
    simulate(async {
        let mut grid = SimGrid::start(64, 10).await;
        let owner = grid.client("3/7/10").await;
        let cap = put(&owner, &noise(64, 5000)).await.unwrap().cap.verify().unwrap();
        let elsewhere = SimGrid::start(65, 10).await.client("3/7/10").await;
        let foreign = put(&elsewhere, &noise(65, 5000)).await.unwrap().cap.verify().unwrap();
        let mut agent =
            Agent::new(grid.client("3/7/10").await, AgentSettings::default(), AgentState::default());
        let held = |name: &str, cap| Held { name: name.into(), cap };
        let bad = Err("that is no capability".to_owned());
        agent.hold(vec![held("bad", bad), held("foreign", Ok(foreign)), held("tree", Ok(cap.clone()))]);
        let mut told = 0;
        let wait = within(SECOND * 600, agent.visit_due(|_| told += 1)).await;
        assert_eq!((told, known(&agent).found.healthy), (3, 1));
        assert!(wait < SECOND * 400, "it tries again soon: {wait:?}");
        for (name, words) in [("bad", "that is no capability"), ("foreign", "not on this grid")] {
            let root = &agent.state().roots[name];
            assert!(root.failures == 1 && root.error.as_ref().unwrap().contains(words), "{root:?}");
        }
        // Let go of, or held by another cap, nothing is known of it.
        agent.hold(vec![held("foreign", Ok(cap))]);
        assert_eq!((agent.state().roots.len(), agent.state().roots["foreign"].failures), (1, 0));
    });
}

#[test]
fn two_agents_at_once_make_no_share_twice() {
    for seed in 0..4 {
        simulate(async move {
            let mut grid = SimGrid::start(66 + seed, 14).await;
            let owner = grid.client("3/7/10").await;
            let top = tree(&owner).await;
            let (one, other) = (grid.client("3/7/10").await, grid.client("3/7/10").await);
            let settings = AgentSettings::default;
            let mut first = agent_with(&one, top.cap(), settings()).await;
            let mut second = agent_with(&other, top.cap(), settings()).await;
            (0..3).for_each(|server| grid.kill(server));
            let apart = sleep(Duration::from_millis(seed * 40));
            let late = async {
                apart.await;
                second.visit_all(|_| ()).await;
            };
            within(SECOND * 900, async { tokio::join!(first.visit_all(|_| ()), late) }).await;
            assert!(known(&first).found.repaired + known(&second).found.repaired >= 2);
            let look = CheckOptions { grade: Grade::Full, repair: false, renew: None };
            let mut checking = owner.check_tree(vec![top.cap().clone()], look);
            while let Some(health) = checking.next().await {
                assert!(health.bad.is_empty(), "{health:?}");
                if !health.is_slot() {
                    assert_eq!(health.state, State::Healthy, "{health:?}");
                    let shares: usize = health.holders.values().map(|holders| holders.len()).sum();
                    assert_eq!(shares, 10, "one of each: {health:?}");
                }
            }
        });
    }
}

#[test]
fn its_leases_alone_keep_a_tree_whose_owner_is_away_for_longer_than_servers_wait() {
    simulate(async {
        let mut grid = SimGrid::start(70, 10).await;
        for server in 0..10 {
            grid.crash(server, Survival::Everything);
            grid.servers[server].options.idle_limit = DAY * 20;
            grid.servers[server].options.grace = DAY * 2;
            grid.servers[server].limits.tidy = SECOND * 3600;
            grid.restart(server).await.unwrap();
        }
        let owner = grid.client("3/7/10").await;
        let top = tree(&owner).await;
        let forgotten = put(&owner, &noise(70, 5000)).await.unwrap();
        owner.close().await;
        let mut agent = agent_with(&grid.client("3/7/10").await, top.cap(), AgentSettings::default()).await;
        for _ in 0..60 {
            let wait = due(&mut agent).await;
            sleep(wait).await;
        }
        assert_eq!(known(&agent).found.not_renewed, 0);
        grid.announce_all().await;
        let reader = grid.client("3/7/10").await;
        let gone = get(&reader, &forgotten.cap).await;
        assert!(matches!(gone, Err(DownloadError::NotEnoughShares { found: 0, .. })), "{gone:?}");
        let read = top.cap().read().unwrap();
        assert_eq!(names(&reader, &read).await, ["below", "small"]);
        let small = reader.resolve(&read, &[crate::filestore::name("small")]).await.unwrap();
        reads_back(&reader, &small.cap, &noise(1, 3000)).await;
    });
}

#[test]
fn copies_keep_a_slot_readable_when_all_its_members_are_gone_and_its_writer_away() {
    simulate(async {
        let mut grid = SimGrid::start(71, 4).await;
        let writer = grid.client("1/3/4").await;
        let cap = create(&writer).await;
        add(&writer, &cap, 1).await.unwrap();
        sleep(SECOND).await;
        for _ in 0..4 {
            grid.add_server(None).await;
        }
        let keeper = grid.client("1/3/4").await;
        let verify = Cap::SlotVerify(cap.to_read().to_verify());
        let kept = keeper.keep_copies(&verify, 4).await.unwrap().unwrap();
        assert_eq!((kept.members.len(), kept.copies.len()), (4, 0), "all members are there");
        grid.kill(0);
        let kept = keeper.keep_copies(&verify, 4).await.unwrap().unwrap();
        assert_eq!((kept.members.len(), kept.copies.len(), kept.placed), (3, 1, 1));
        // The writer knows nothing of the copy, and changes the slot; the next visit brings the copy up and adds another.
        add(&writer, &cap, 2).await.unwrap();
        sleep(SECOND).await;
        grid.kill(1);
        sleep(SECOND * 60).await;
        let kept = keeper.keep_copies(&verify, 4).await.unwrap().unwrap();
        assert_eq!((kept.members.len(), kept.copies.len(), kept.placed), (2, 2, 1));
        grid.kill(2);
        grid.kill(3);
        let reader = grid.client("1/3/4").await;
        assert_eq!(read(&reader, &cap.to_read()).await, (vec![1, 2], Freshness::NewestSeen));
        // They give no vote.
        sleep(SECOND * 60).await;
        assert!(add(&writer, &cap, 3).await.is_err());
        for server in 0..3 {
            grid.restart(server).await.unwrap();
        }
        sleep(SECOND * 60).await;
        add(&writer, &cap, 3).await.unwrap();
        assert_eq!(read(&reader, &cap.to_read()).await, (vec![1, 2, 3], Freshness::Confirmed));
    });
}

#[test]
fn a_stale_copy_does_not_hide_a_newer_record_on_members_it_does_not_know() {
    simulate(async {
        let mut grid = SimGrid::start(72, 4).await;
        let writer = grid.client("1/3/4").await;
        let cap = create(&writer).await;
        add(&writer, &cap, 1).await.unwrap();
        sleep(SECOND).await;
        for _ in 0..8 {
            grid.add_server(None).await;
        }
        let keeper = grid.client("1/3/4").await;
        let verify = Cap::SlotVerify(cap.to_read().to_verify());
        grid.kill(0);
        let kept = keeper.keep_copies(&verify, 4).await.unwrap().unwrap();
        let stale = grid.servers.iter().position(|server| {
            server
                .server()
                .is_some_and(|up| up.stores().iter().any(|store| kept.copies.contains(&store.id())))
        });
        let stale = stale.unwrap();
        grid.kill(stale);
        // Meanwhile all members are replaced, and die.
        writer.refresh().await;
        let mut members = writer.live_members(&cap).await.unwrap();
        let old: Vec<[u8; 32]> = keeper
            .restore_slot(&cap.to_read().to_verify())
            .await
            .unwrap()
            .record
            .members()
            .map(|m| m.store)
            .collect();
        members.retain(|member| !old.contains(&member.store));
        members.truncate(4);
        assert!(members.len() >= 3, "{members:?}");
        writer.change_members(&cap, members, 3).await.unwrap();
        add(&writer, &cap, 2).await.unwrap();
        sleep(SECOND).await;
        (1..4).for_each(|server| grid.kill(server));
        grid.restart(stale).await.unwrap();
        // A stranger, who asks one server after the other and meets the stale copy first.
        let reader = grid.client("1/1/1").await;
        assert_eq!(read(&reader, &cap.to_read()).await.0, [1, 2]);
    });
}
