//! Those who keep a tree and those who let go of it: agents that are members, owners after a drain, and what an agent kept of what was purged.

use std::time::Duration;

use client::agent::AgentSettings;
use client::check::{CheckOptions, Grade, Renewal};
use client::{Client, Timeouts};
use protocol::NodeId;
use protocol::membership::{MembershipNews, Role};
use storage_server::{Order, Phase};
use testkit::grid::SimGrid;
use tokio::time::sleep;

use crate::agent::{agent_with, due, known, tree};
use crate::drain::{CLAIMED, drained, give, shares};
use crate::filestore::{file, link, writer};
use crate::joints::alice;
use crate::letting_go::{is_gone, purge, sweeping, unlink};
use crate::members::{certificate, closed, joined, members, owner, revocations, tell};
use crate::support::{SECOND, noise, reads_back, simulate};

const DAY: Duration = Duration::from_secs(86_400);
const RENEW: CheckOptions =
    CheckOptions { grade: Grade::Claimed, repair: false, renew: Some(Renewal::WhileAlive) };

/// What an account is charged on all servers that are up.
fn charged(grid: &SimGrid, account: &NodeId) -> u64 {
    let up = grid.servers.iter().filter_map(|server| server.server());
    up.flat_map(|server| server.stores()).map(|store| store.charged(account).unwrap()).sum()
}

async fn admit(grid: &SimGrid, label: &str, serial: u64) {
    let own = certificate(grid, grid.client_host(label), Role::Account, serial);
    tell(grid, vec![own.sign(&owner())], None).await;
}

#[test]
fn an_agent_among_members_repairs_and_renews_while_it_is_one() {
    simulate(async {
        let mut grid = SimGrid::start(130, 0).await;
        grid.limits.tidy = SECOND * 3600;
        for _ in 0..7 {
            grid.add_server(None).await;
        }
        closed(&mut grid, 7).await;
        let top = tree(&alice(&grid, "2/4/5").await).await;
        let client = joined(&grid, "agent", "2/4/5", |_| ()).await;
        let mut agent = agent_with(&client, top.cap(), AgentSettings::default()).await;
        let wait = due(&mut agent).await;
        // Nobody admitted it yet: it sees how all is, and leases nothing.
        let found = known(&agent).found;
        assert_eq!((found.healthy, found.leased), (4, 0), "{found:?}");
        assert!(found.not_renewed > 0, "{found:?}");
        grid.kill(0);
        sleep(wait).await;
        let wait = due(&mut agent).await;
        assert_eq!(known(&agent).found.repaired, 0);

        // It hears of its certificate before the next round, and needs no start for that.
        admit(&grid, "agent", 30).await;
        sleep(wait).await;
        let mut wait = due(&mut agent).await;
        let root = known(&agent);
        assert_eq!((root.found.leased, root.found.unrecoverable), (4, 0), "{root:?}");
        assert!(root.ill.values().all(|ill| ill.kind == "slot"), "no file lacks anything: {root:?}");
        let account = grid.client_host("agent");
        assert!(charged(&grid, &account) > 0);

        // Weeks later it has the certificates that came since, and so have the servers.
        for _ in 0..12 {
            sleep(wait).await;
            wait = due(&mut agent).await;
        }
        admit(&grid, "agent", 31).await;
        for index in 1..7 {
            let own = certificate(&grid, grid.servers[index].key.id(), Role::Server, 40).sign(&owner());
            let news = MembershipNews { certificate: Some(own.clone()), revocations: None };
            members(&grid, index).learn(news).unwrap();
            grid.servers[index].certificate = Some(own);
        }
        for _ in 0..20 {
            grid.announce_all().await;
            sleep(wait).await;
            wait = due(&mut agent).await;
        }
        let root = known(&agent);
        // The dead server was forgotten, and renews nothing that anybody waits for.
        assert_eq!((root.found.leased, root.found.not_renewed, root.failures), (4, 0, 0), "{root:?}");

        // One that is let go leases nothing any more, and says so.
        let list = revocations(7, account, 31);
        for index in 1..7 {
            let news = MembershipNews { certificate: None, revocations: Some(list.clone()) };
            members(&grid, index).learn(news).unwrap();
        }
        sleep(wait).await;
        due(&mut agent).await;
        let found = known(&agent).found;
        assert!(found.leased == 0 && found.not_renewed > 0, "{found:?}");
    });
}

#[test]
fn what_the_owner_purges_goes_though_an_agent_kept_it() {
    simulate(async {
        let mut grid = SimGrid::start(131, 0).await;
        grid.limits.tidy = SECOND * 3600;
        for _ in 0..5 {
            grid.add_server(None).await;
        }
        let user = grid.client("2/4/5").await;
        let top = user.make_directory().await.unwrap();
        let user = user.under(top.cap());
        let (kept, gone) = (noise(1, 300_000), noise(2, 310_000));
        let files = [file(&user, &kept).await, file(&user, &gone).await];
        for (text, file) in ["kept", "gone"].into_iter().zip(&files) {
            user.edit_entry(&writer(&top), link(text, file)).await.unwrap();
        }
        sleep(SECOND).await;
        let settings = AgentSettings { lease: Some(DAY * 4), ..AgentSettings::default() };
        // One with an account of its own, and one under the user's.
        let other = grid.client("2/4/5").await;
        let mut agents = [
            agent_with(&other, top.cap(), settings.clone()).await,
            agent_with(&user, top.cap(), settings).await,
        ];
        let mut round = async || {
            for agent in &mut agents {
                due(agent).await;
                assert_eq!(known(agent).found.not_renewed, 0);
            }
            // By then both are due again.
            sleep(DAY * 11 / 10).await;
        };
        round().await;
        let removed = unlink(&user, &top, "gone").await;
        let done = purge(&user, &top, removed, &[&top]).await.unwrap();
        assert!(done.objects == 1 && done.leases == 5, "the user's, and not the agent's: {done:?}");
        for _ in 0..3 {
            round().await;
        }
        reads_back(&user, files[1].cap(), &gone).await;
        // Four days, and the grace of seven.
        for _ in 0..12 {
            round().await;
        }
        is_gone(&user, files[1].cap()).await;
        reads_back(&user, files[0].cap(), &kept).await;
        let health = user.check_tree(vec![top.cap().clone()], CLAIMED).finish().await;
        assert_eq!((health.unhealthy, health.unrecoverable), (0, 0), "{health:?}");
    });
}

/// Servers where everything goes sooner.
async fn hasty(grid: &mut SimGrid, servers: usize) {
    grid.limits.tidy = SECOND * 3600;
    for _ in 0..servers {
        let index = grid.add_server(None).await;
        grid.kill(index);
        grid.servers[index].options.grace = DAY;
        grid.servers[index].options.idle_limit = DAY * 10;
        grid.restart(index).await.unwrap();
    }
}

async fn check_all(client: &Client, top: &client::filestore::Child, options: CheckOptions) {
    let totals = client.check_tree(vec![top.cap().clone()], options).finish().await;
    let wanted = if options.renew.is_some() { totals.objects + totals.slots } else { 0 };
    let found = (totals.unhealthy, totals.unrecoverable, totals.leased);
    assert_eq!(found, (0, 0, wanted), "{totals:?}");
}

#[test]
fn after_a_drain_the_owner_leases_what_moved_and_lets_go_of_its_own_alone() {
    simulate(async {
        let mut grid = SimGrid::start(132, 0).await;
        hasty(&mut grid, 7).await;
        let user = grid.client_of("user", "2/4/5", Timeouts::default());
        user.refresh().await;
        let account = grid.client_host("user");
        let top = user.make_directory().await.unwrap();
        let user = user.under(top.cap());
        let (kept, gone) = (noise(3, 300_000), noise(4, 310_000));
        let files = [file(&user, &kept).await, file(&user, &gone).await];
        for (text, file) in ["kept", "gone"].into_iter().zip(&files) {
            user.edit_entry(&writer(&top), link(text, file)).await.unwrap();
        }
        sleep(SECOND).await;
        let before = charged(&grid, &account);
        let on_one = (0..7).max_by_key(|index| shares(&grid, *index)).unwrap();
        give(&mut grid, on_one, Order::Drain);
        let done = drained(&grid, on_one, Phase::Complete).await;
        assert!(done.shares > 0 && done.left == 0, "{done:?}");
        let handing = grid.servers[on_one].key.id();
        grid.announce(on_one).await;
        user.refresh().await;
        // What moved is the handing server's, until its owner says that it is his.
        let moved = charged(&grid, &handing);
        assert!(moved > 0 && charged(&grid, &account) == before, "{moved}");
        let mend = CheckOptions { repair: true, ..RENEW };
        let mended = user.check_tree(vec![top.cap().clone()], mend).finish().await;
        assert_eq!((mended.unhealthy, mended.not_renewed), (0, 0), "{mended:?}");
        assert!(charged(&grid, &account) >= before + moved, "leased at their new home");
        assert_eq!(charged(&grid, &handing), moved, "the handing server's leases are its own");
        grid.kill(on_one);
        check_all(&user, &top, CLAIMED).await;

        // Letting go ends the user's leases wherever shares are, and nobody else's.
        let removed = unlink(&user, &top, "gone").await;
        let let_go = purge(&user, &top, removed, &[&top]).await.unwrap();
        assert_eq!((let_go.objects, let_go.leases), (1, 5), "those on servers that are up: {let_go:?}");
        assert_eq!(charged(&grid, &handing), moved);
        sleep(SECOND * 120).await;
        let plan = user.plan_sweep(&sweeping(&top, &[&top])).await.unwrap();
        assert_eq!((plan.loose.leases, plan.other.leases), (0, 0), "a sweep sees no lease of a server");
        user.sweep(plan, true, None).await.unwrap();
        check_all(&user, &top, RENEW).await;
        // The handing server's leases end; what nobody else leases goes with them, and what the owner renewed stays.
        for _ in 0..6 {
            sleep(DAY * 2).await;
            check_all(&user, &top, RENEW).await;
        }
        assert_eq!(charged(&grid, &handing), 0);
        is_gone(&user, files[1].cap()).await;
        reads_back(&user, files[0].cap(), &kept).await;
        check_all(&user, &top, CheckOptions { grade: Grade::Full, ..RENEW }).await;
    });
}
