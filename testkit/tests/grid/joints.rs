//! Where the parts of upkeep meet: a grid of certified servers that hands over, is checked, renewed and looked after.

use client::Client;
use client::check::{CheckOptions, State};
use protocol::NodeKey;
use protocol::membership::{Certificate, MembershipNews, Role};
use storage_server::{Order, Phase};
use testkit::grid::SimGrid;
use tokio::time::sleep;

use crate::drain::{CLAIMED, FULL, Files, assert_counters_hold, drained, files, give, how_far, shares};
use crate::members::{certificate, closed, joined, members, owner, revocations, tell};
use crate::support::{SECOND, reads_back, simulate};

/// Servers that no owner certified, or not as servers, or not for now, beside those that are.
async fn sybils(grid: &mut SimGrid, count: usize) -> Vec<usize> {
    let mut invented = Vec::new();
    for kind in 0..count {
        let index = grid.add_server(Some("elsewhere")).await;
        let own = certificate(grid, grid.servers[index].key.id(), Role::Server, 900);
        let stranger = NodeKey::from_seed(&[201; 32]);
        let shown = match kind % 4 {
            0 => None,
            1 => Some(Certificate { grid: stranger.id(), ..own }.sign(&stranger)),
            2 => Some(Certificate { role: Role::Account, ..own }.sign(&owner())),
            _ => {
                let begun = own.not_before_s - 86_400 * 20;
                let ended = own.not_before_s - 7_200;
                Some(Certificate { not_before_s: begun, not_after_s: ended, ..own }.sign(&owner()))
            }
        };
        grid.servers[index].certificate = shown;
        grid.announce(index).await;
        invented.push(index);
    }
    invented
}

/// A client that the grid's owner admitted.
pub(crate) async fn alice(grid: &SimGrid, shares: &str) -> Client {
    let alice = grid.client_host("alice");
    tell(grid, vec![certificate(grid, alice, Role::Account, 20).sign(&owner())], None).await;
    joined(grid, "alice", shares, |_| ()).await
}

async fn all_well(client: &Client, files: &Files) {
    client.refresh().await;
    for (cap, data) in files {
        let health = client.check(cap, FULL).await.unwrap().unwrap();
        assert_eq!(health.state, State::Healthy, "{health:?}");
        reads_back(client, cap, data).await;
    }
}

#[test]
fn a_drain_among_members_goes_to_certified_servers_only() {
    simulate(async {
        let mut grid = SimGrid::start(120, 6).await;
        closed(&mut grid, 6).await;
        let alice = alice(&grid, "2/4/4").await;
        let files = files(&alice, &[900, 9_000, 90_000, 300_000, 310_000, 700_000]).await;
        let mine = shares(&grid, 0);
        let invented = sybils(&mut grid, 24).await;
        // One of the grid's own was let go.
        let list = revocations(4, grid.servers[1].key.id(), 1);
        members(&grid, 0)
            .learn(MembershipNews { certificate: None, revocations: Some(list.clone()) })
            .unwrap();
        tell(&grid, Vec::new(), Some(list)).await;
        let before = shares(&grid, 1);
        give(&mut grid, 0, Order::Drain);
        let done = drained(&grid, 0, Phase::Complete).await;
        assert_eq!((done.left, done.crowded, done.shares), (0, 0, mine), "{done:?}");
        assert!(mine > 0 && invented.iter().all(|index| shares(&grid, *index) == 0), "a Sybil got a share");
        assert_eq!(shares(&grid, 1), before, "what it had is not taken away, and nothing comes");
        grid.kill(0);
        for index in invented {
            grid.kill(index);
        }
        for (cap, data) in &files {
            reads_back(&alice, cap, data).await;
        }
        assert_counters_hold(&grid);
    });
}

#[test]
fn a_server_that_is_no_member_hands_nothing_over_until_it_is() {
    simulate(async {
        let mut grid = SimGrid::start(121, 6).await;
        closed(&mut grid, 6).await;
        let alice = alice(&grid, "2/4/4").await;
        let files = files(&alice, &[9_000, 300_000, 310_000]).await;
        // The others heard that it was let go.
        let id = grid.servers[0].key.id();
        for index in 1..6 {
            let list = revocations(5, id, 0);
            members(&grid, index)
                .learn(MembershipNews { certificate: None, revocations: Some(list) })
                .unwrap();
        }
        give(&mut grid, 0, Order::Drain);
        let stuck = drained(&grid, 0, Phase::Waiting).await;
        assert!(stuck.problems.iter().any(|problem| problem.contains("revoked")), "{stuck:?}");
        // Its connections are shown the new certificate, though they are there already.
        let anew = certificate(&grid, id, Role::Server, 50).sign(&owner());
        members(&grid, 0).learn(MembershipNews { certificate: Some(anew), revocations: None }).unwrap();
        let done = drained(&grid, 0, Phase::Complete).await;
        assert_eq!((done.left, done.crowded), (0, 0), "{done:?}");
        grid.kill(0);
        all_well(&alice, &files).await;
    });
}

#[test]
fn rebalancing_among_members_looks_at_certified_servers_only() {
    simulate(async {
        let mut grid = SimGrid::start(122, 5).await;
        closed(&mut grid, 5).await;
        let alice = alice(&grid, "2/4/4").await;
        let sizes: Vec<usize> = (0..12).map(|n| 20_000 + n * 11_000).collect();
        let files = files(&alice, &sizes).await;
        let invented = sybils(&mut grid, 4).await;
        // One that is silent stops nothing: nobody counts on what it has.
        grid.kill(invented[0]);
        let new = grid.add_server(None).await;
        let own = certificate(&grid, grid.servers[new].key.id(), Role::Server, 60).sign(&owner());
        grid.servers[new].certificate = Some(own);
        grid.announce(new).await;
        for index in 0..5 {
            give(&mut grid, index, Order::Rebalance);
        }
        sleep(SECOND * 120).await;
        for index in 0..5 {
            let progress = how_far(&grid, index, Order::Rebalance).unwrap();
            assert_eq!(progress.phase, Phase::Complete, "{progress:?}");
        }
        assert!(shares(&grid, new) > 0, "all see each other's zones by the owner's word, and their own");
        assert!(invented[1..].iter().all(|index| shares(&grid, *index) == 0));
        all_well(&alice, &files).await;
    });
}

/// A stranger stores the same shares elsewhere, or says so: that is no reason to call it healthy, but one to read it.
#[test]
fn what_does_not_count_is_read_and_not_relied_on() {
    simulate(async {
        let mut grid = SimGrid::start(123, 5).await;
        closed(&mut grid, 5).await;
        let alice = alice(&grid, "2/4/4").await;
        let files = files(&alice, &[9_000, 300_000]).await;
        for (cap, _) in &files {
            let health = alice.check(cap, CLAIMED).await.unwrap().unwrap();
            assert_eq!((health.state, health.good, health.happiness), (State::Healthy, 4, 4), "{health:?}");
        }
        // The owner lets two servers go, and a third is lost: what they held, they hold.
        let gone = [0, 1].map(|index| grid.servers[index].key.id());
        let revoked = protocol::membership::Revocations {
            revoked: {
                let mut revoked = gone.map(|member| protocol::membership::Revoked { member, through: 9 });
                revoked.sort_by_key(|revoked| revoked.member);
                revoked.to_vec()
            },
            ..revocations(6, gone[0], 9).open().unwrap()
        };
        tell(&grid, Vec::new(), Some(revoked.sign(&owner()))).await;
        grid.kill(2);
        alice.refresh().await;
        let repair = CheckOptions { repair: true, ..CLAIMED };
        for (cap, data) in &files {
            let health = alice.check(cap, CLAIMED).await.unwrap().unwrap();
            assert_eq!(health.state, State::Unhealthy, "two servers are left that count: {health:?}");
            assert!(health.good <= 2 && health.happiness <= 2 && health.holders.len() >= 3, "{health:?}");
            reads_back(&alice, cap, data).await;
        }
        // New servers come; what is missing is made of what there is anywhere, and goes to those that count.
        for serial in [70, 71] {
            let new = grid.add_server(None).await;
            let own = certificate(&grid, grid.servers[new].key.id(), Role::Server, serial).sign(&owner());
            grid.servers[new].certificate = Some(own);
            grid.announce(new).await;
        }
        alice.refresh().await;
        for (cap, _) in &files {
            let health = alice.check(cap, repair).await.unwrap().unwrap();
            assert_eq!((health.now(), health.good, health.happiness), (State::Healthy, 4, 4), "{health:?}");
        }
        grid.kill(0);
        grid.kill(1);
        for (cap, data) in &files {
            let health = alice.check(cap, FULL).await.unwrap().unwrap();
            assert_eq!(health.state, State::Healthy, "{health:?}");
            reads_back(&alice, cap, data).await;
        }
    });
}

/// All shares are on servers that count, but on two of them, and copies elsewhere: a repair of all of a tree spreads them.
#[test]
fn what_is_whole_on_too_few_servers_that_count_is_spread_by_a_deep_repair() {
    simulate(async {
        let mut grid = SimGrid::start(124, 2).await;
        closed(&mut grid, 2).await;
        let files = files(&alice(&grid, "2/2/4").await, &[9_000, 300_000]).await;
        let repair = CheckOptions { repair: true, ..CLAIMED };
        let mut serial = 70;
        for round in 0..2 {
            // Two more that count; in the first round, they are all there is, in the second the first two were let go.
            let mut new = Vec::new();
            for _ in 0..2 {
                let index = grid.add_server(None).await;
                let id = grid.servers[index].key.id();
                grid.servers[index].certificate =
                    Some(certificate(&grid, id, Role::Server, serial).sign(&owner()));
                grid.announce(index).await;
                serial += 1;
                new.push(id);
            }
            let alice = joined(&grid, "alice", "2/4/4", |_| ()).await;
            for (cap, data) in &files {
                let before = alice.check(cap, CLAIMED).await.unwrap().unwrap();
                assert_eq!(
                    (before.state, before.good, before.happiness),
                    (State::Unhealthy, 4, 2),
                    "{before:?}"
                );
                let everywhere = protocol::placement::happiness(&before.holders);
                assert_eq!(everywhere, if round == 0 { 2 } else { 4 }, "{before:?}");
                let totals = alice.check_tree(vec![cap.clone()], repair).finish().await;
                assert_eq!((totals.repaired, totals.healthy, totals.unhealthy), (1, 0, 0), "{totals:?}");
                let after = alice.check(cap, FULL).await.unwrap().unwrap();
                assert_eq!((after.state, after.good, after.happiness), (State::Healthy, 4, 4), "{after:?}");
                assert!(new.iter().all(|id| after.holders.values().any(|on| on.contains(id))), "{after:?}");
                reads_back(&alice, cap, data).await;
            }
            let mut revoked: Vec<_> =
                new.iter().map(|id| protocol::membership::Revoked { member: *id, through: 99 }).collect();
            revoked.sort_by_key(|revoked| revoked.member);
            let list = protocol::membership::Revocations {
                revoked,
                ..revocations(7 + round, new[0], 99).open().unwrap()
            };
            tell(&grid, Vec::new(), Some(list.sign(&owner()))).await;
        }
    });
}
