//! Letting go in simulated time: what no root reaches goes after the grace, and nothing that any root reaches ever does.

use std::sync::Arc;
use std::time::Duration;

use caps::Cap;
use client::check::{CheckOptions, Grade, Renewal};
use client::filestore::{Child, DirEdit, Replace};
use client::letting_go::{LetGoError, LetGone, NamedRoot, Purge, SweepWhat};
use client::{Client, DownloadError, PutOptions, Source, Timeouts};
use encoding::directory::Name;
use protocol::Random;
use protocol::message::{Bytes16, Bytes32, Found, HeldLease, LeaseAt, LeasesReply, Reply, Request};
use testkit::grid::SimGrid;
use testkit::liar::{Lie, corrupt};
use tokio::time::sleep;

use crate::filestore::{file, link, name, names, writer};
use crate::support::{get, noise, reads_back, seeds, simulate, within};

const GRACE: Duration = Duration::from_secs(600);
const MINUTE: Duration = Duration::from_secs(60);

/// Servers that remove what nobody leases ten minutes after.
async fn grid_of(seed: u64, servers: u16) -> SimGrid {
    let mut grid = SimGrid::start_silent(seed, servers).await;
    for server in 0..grid.servers.len() {
        grid.kill(server);
        grid.servers[server].options.grace = GRACE;
        grid.restart(server).await.unwrap();
    }
    grid
}

fn roots(of: &[&Child]) -> Vec<NamedRoot> {
    of.iter().map(|root| NamedRoot { name: "root".into(), cap: root.cap().clone() }).collect()
}

pub(crate) async fn unlink(client: &Client, from: &Child, text: &str) -> Cap {
    let edit = DirEdit::Unlink { name: name(text), only: None };
    client.edit_entry(&writer(from), edit).await.unwrap().before.unwrap().cap
}

pub(crate) async fn purge(
    client: &Client,
    root: &Child,
    removed: Cap,
    kept: &[&Child],
) -> Result<LetGone, LetGoError> {
    let (root, kept) = (root.cap().clone(), roots(kept));
    client.purge(Purge { root, removed: vec![removed], kept, linked_in: None, memory: None }).await
}

pub(crate) fn sweeping(of: &Child, kept: &[&Child]) -> SweepWhat {
    let of = vec![of.cap().verify_hash().unwrap()];
    SweepWhat { roots: roots(kept), of, older_than: MINUTE, loose: false }
}

pub(crate) async fn is_gone(client: &Client, cap: &Cap) {
    let got = get(client, cap).await;
    assert!(matches!(got, Err(DownloadError::NotEnoughShares { found: 0, .. })), "{got:?}");
}

#[test]
fn two_roots_that_share_a_file_hold_it_each_for_itself() {
    simulate(async {
        let mut grid = grid_of(1, 4).await;
        let client = grid.client("2/3/4").await;
        let (one, other) = (client.make_directory().await.unwrap(), client.make_directory().await.unwrap());
        let (for_one, for_other) = (client.under(one.cap()), client.under(other.cap()));
        let (shared, own) = (noise(1, 9000), noise(2, 700_000));
        let inside =
            vec![(name("shared"), file(&for_one, &shared).await), (name("own"), file(&for_one, &own).await)];
        let (kept_cap, gone_cap) = (inside[0].1.cap().clone(), inside[1].1.cap().clone());
        let directory = for_one.make_directory_with(inside).await.unwrap();
        client.edit_entry(&writer(&one), link("d", &directory)).await.unwrap();
        let same = file(&for_other, &shared).await;
        assert_eq!(*same.cap(), kept_cap);
        client.edit_entry(&writer(&other), link("s", &same)).await.unwrap();

        // A dry run says what would go, and changes nothing.
        let dry = Purge {
            root: one.cap().clone(),
            removed: vec![directory.cap().clone()],
            kept: roots(&[&one]),
            linked_in: one.cap().verify_hash(),
            memory: None,
        };
        let told = client.purge(dry).await.unwrap();
        assert_eq!(told.objects, 3, "{told:?}");
        sleep(GRACE + 5 * MINUTE).await;
        reads_back(&client, &gone_cap, &own).await;
        // While it is linked, nothing goes.
        let linked = purge(&client, &one, directory.cap().clone(), &[&one]).await.unwrap();
        assert_eq!(linked, LetGone::default());

        let removed = unlink(&client, &one, "d").await;
        let gone = purge(&client, &one, removed, &[&one]).await.unwrap();
        assert_eq!((gone.objects, gone.bytes, gone.failures.len()), (3, told.bytes, 0), "{gone:?}");
        reads_back(&client, &gone_cap, &own).await;
        sleep(GRACE + 5 * MINUTE).await;
        is_gone(&client, &gone_cap).await;
        reads_back(&client, &kept_cap, &shared).await;
        for server in &grid.servers {
            for store in server.server().unwrap().stores() {
                assert_eq!(store.audit().unwrap(), Vec::<String>::new());
            }
        }
    });
}

#[test]
fn what_another_root_links_without_a_lease_of_its_own_is_kept_for_it() {
    simulate(async {
        let mut grid = grid_of(2, 4).await;
        let client = grid.client("2/3/4").await;
        let (one, other) = (client.make_directory().await.unwrap(), client.make_directory().await.unwrap());
        let child = file(&client.under(one.cap()), &noise(1, 9000)).await;
        client.edit_entry(&writer(&one), link("f", &child)).await.unwrap();
        client.edit_entry(&writer(&other), link("f", &child)).await.unwrap();
        let removed = unlink(&client, &one, "f").await;
        let gone = purge(&client, &one, removed, &[&one, &other]).await.unwrap();
        assert_eq!(gone, LetGone::default());
        let plan = client.plan_sweep(&sweeping(&one, &[&one, &other])).await.unwrap();
        assert_eq!(plan.orphans.objects, 0);
        sleep(GRACE + 5 * MINUTE).await;
        reads_back(&client, child.cap(), &noise(1, 9000)).await;
    });
}

#[test]
fn replaced_nodes_go_and_who_reads_the_old_record_reads_on() {
    simulate(async {
        let mut grid = grid_of(3, 4).await;
        let (client, reader) = (grid.client("2/3/4").await, grid.client("2/3/4").await);
        let root = client.make_directory().await.unwrap();
        let client = client.under(root.cap());
        let child = file(&client, b"a few bytes that stand in the capability").await;
        let many = |from: usize| (from..from + 400).map(|n| link(&format!("{n:05}"), &child)).collect();
        for outcome in client.edit_directory(&writer(&root), many(0)).await.unwrap() {
            outcome.unwrap();
        }
        let shares = |grid: &SimGrid| -> u64 {
            grid.servers.iter().map(|server| server.server().unwrap().status().stores[0].shares).sum()
        };
        let old = reader.open_directory(root.cap()).await.unwrap();
        for from in [400, 800, 1200, 1600] {
            client.edit_directory(&writer(&root), many(from)).await.unwrap();
        }
        assert_eq!(client.let_go_superseded(MINUTE).await, LetGone::default(), "they wait");
        sleep(2 * MINUTE).await;
        let (before, gone) = (shares(&grid), client.let_go_superseded(MINUTE).await);
        assert!(gone.objects >= 4 && gone.renewed == 0, "{gone:?}");
        assert_eq!(client.let_go_superseded(MINUTE).await, LetGone::default(), "once");
        // The walk of the old record goes on below nodes that nobody leases any more.
        assert_eq!(old.list().await.unwrap().len(), 400);
        sleep(GRACE + 5 * MINUTE).await;
        assert_eq!(before - shares(&grid), gone.leases, "each is one share on one server");
        let fresh = grid.client("2/3/4").await;
        assert_eq!(names(&fresh, root.cap()).await.len(), 2000);
        // Nothing is left for a sweep, and nothing that is reached is taken for garbage.
        let plan = client.plan_sweep(&sweeping(&root, &[&root])).await.unwrap();
        assert_eq!((plan.orphans.objects, plan.other.objects), (0, 0));
    });
}

#[test]
fn a_sweep_finds_orphans_and_leaves_the_loose_and_what_others_lease() {
    simulate(async {
        let mut grid = grid_of(4, 4).await;
        let (client, friend) = (grid.client("2/3/4").await, grid.client("2/3/4").await);
        let root = client.make_directory().await.unwrap();
        let under = client.under(root.cap());
        let data = [noise(1, 9000), noise(2, 9000), noise(3, 9000), noise(4, 9000)];
        let kept = file(&under, &data[0]).await;
        client.edit_entry(&writer(&root), link("kept", &kept)).await.unwrap();
        // Stored by a path and never linked, as after a crash; a directory, too.
        let (orphan, lost) = (file(&under, &data[1]).await, under.make_directory().await.unwrap());
        let loose = file(&client, &data[2]).await;
        let with_friends = file(&under, &data[3]).await;
        let keep = CheckOptions { grade: Grade::Unseen, repair: false, renew: Some(Renewal::WhileAlive) };
        let leased = friend.check_tree(vec![with_friends.cap().clone()], keep).finish().await;
        assert_eq!((leased.leased, leased.leases), (1, 4));

        let young = client.plan_sweep(&sweeping(&root, &[&root])).await.unwrap();
        assert!(young.orphans.leases == 0 && young.young > 0);
        sleep(5 * MINUTE).await;
        let plan = client.plan_sweep(&sweeping(&root, &[&root])).await.unwrap();
        assert_eq!((plan.orphans.objects, plan.loose.objects, plan.other.objects), (3, 1, 0));
        assert_eq!((plan.reached, plan.young), (2, 0));
        // What is leased anew after the plan was made stays.
        let again = file(&under, &data[1]).await;
        assert_eq!(again.cap(), orphan.cap());
        let gone = client.sweep(plan, false, None).await.unwrap();
        assert_eq!((gone.objects, gone.renewed), (2, 4), "{gone:?}");
        // The friend has no root that reaches it either, and sees its own lease, of all of these the only one.
        let empty = friend.make_directory().await.unwrap();
        sleep(5 * MINUTE).await;
        let seen = friend.plan_sweep(&sweeping(&empty, &[&empty])).await.unwrap();
        let strays = seen.orphans.leases + seen.loose.leases + seen.other.leases;
        assert_eq!((strays, seen.young), (4, 0));

        let plan = client.plan_sweep(&sweeping(&root, &[&root])).await.unwrap();
        client.sweep(plan, false, None).await.unwrap();
        sleep(GRACE + 5 * MINUTE).await;
        is_gone(&client, orphan.cap()).await;
        client.open_directory(lost.cap()).await.unwrap();
        reads_back(&client, kept.cap(), &data[0]).await;
        reads_back(&client, loose.cap(), &data[2]).await;
        reads_back(&client, with_friends.cap(), &data[3]).await;
        let what = SweepWhat { loose: true, ..sweeping(&root, &[&root]) };
        let plan = client.plan_sweep(&what).await.unwrap();
        client.sweep(plan, true, None).await.unwrap();
        sleep(GRACE + 5 * MINUTE).await;
        is_gone(&client, loose.cap()).await;
        reads_back(&client, kept.cap(), &data[0]).await;
    });
}

/// A directory that has nodes of its own, made without a path: its cap is all that somebody has of it.
async fn loose_directory(client: &Client) -> (Child, Vec<String>) {
    let directory = client.make_directory().await.unwrap();
    let child = file(client, b"a few bytes that stand in the capability").await;
    let names: Vec<String> = (0..400).map(|n| format!("{n:05}")).collect();
    let links = names.iter().map(|name| link(name, &child)).collect();
    for outcome in client.edit_directory(&writer(&directory), links).await.unwrap() {
        outcome.unwrap();
    }
    (directory, names)
}

async fn lists(client: &Client, directory: &Child, names: &[String]) {
    let listed = client.open_directory(directory.cap()).await.unwrap().list().await;
    assert_eq!(listed.map(|listed| listed.len()).ok(), Some(names.len()), "its nodes are gone");
}

/// What hangs off a slot has one lease, that of the slot: it stays as long as anything holds the slot.
#[test]
fn a_directory_that_was_linked_for_a_while_stays_for_whoever_has_its_cap() {
    for purged in [false, true] {
        simulate(async {
            let mut grid = grid_of(5, 4).await;
            let client = grid.client("2/3/4").await;
            let root = client.make_directory().await.unwrap();
            let (directory, names) = loose_directory(&client).await;
            // Linked in a root, which leases it once more, and unlinked.
            let keep = CheckOptions { grade: Grade::Unseen, repair: false, renew: Some(Renewal::WhileAlive) };
            let under = client.under(root.cap());
            let leased = under.check_tree(vec![directory.cap().clone()], keep).finish().await;
            assert!(leased.leases > 0);
            client.edit_entry(&writer(&root), link("d", &directory)).await.unwrap();
            let removed = unlink(&client, &root, "d").await;
            if purged {
                purge(&client, &root, removed, &[&root]).await.unwrap();
            } else {
                sleep(5 * MINUTE).await;
                let plan = client.plan_sweep(&sweeping(&root, &[&root])).await.unwrap();
                client.sweep(plan, false, None).await.unwrap();
            }
            sleep(GRACE + 5 * MINUTE).await;
            lists(&grid.client("2/3/4").await, &directory, &names).await;
        });
    }
}

/// A server says that a slot of nobody's is held for the root that is swept: what hangs off it would be garbage, at all other servers.
#[test]
fn a_server_that_lists_leases_that_are_not_there_makes_nobody_let_go() {
    simulate(async {
        let mut grid = grid_of(6, 4).await;
        let client = grid.client("2/3/4").await;
        let root = client.make_directory().await.unwrap();
        let (directory, names) = loose_directory(&client).await;
        sleep(5 * MINUTE).await;
        let tag =
            blake3::derive_key("sarsen v1 root lease tag", root.cap().verify_hash().unwrap().as_bytes());
        let invented = HeldLease {
            hash: Bytes32(*directory.cap().verify_hash().unwrap().as_bytes()),
            tag: Bytes16(std::array::from_fn(|i| tag[i])),
            made_s: 0,
            bytes: 1,
        };
        let store = crate::by_hand::store(&grid, 0);
        corrupt(&grid, 0, move |request| match request {
            Request::Leases(_) => Lie::message(&Reply::Ok(LeasesReply {
                store,
                uptime_s: 1 << 30,
                leases: vec![invented],
                next: None,
            })),
            _ => Lie::Truth,
        });
        let client = grid.client_of("client1", "2/3/4", Timeouts::default());
        client.refresh().await;
        let plan = client.plan_sweep(&sweeping(&root, &[&root])).await.unwrap();
        assert!(plan.failures.is_empty(), "{:?}", plan.failures);
        client.sweep(plan, false, None).await.unwrap();
        sleep(GRACE + 5 * MINUTE).await;
        grid.kill(0);
        lists(&grid.client("2/3/4").await, &directory, &names).await;
    });
}

#[test]
fn a_list_of_leases_without_end_holds_up_nobody_for_long() {
    simulate(async {
        let mut grid = grid_of(7, 4).await;
        let client = grid.client("2/3/4").await;
        let root = client.make_directory().await.unwrap();
        let child = file(&client.under(root.cap()), &noise(1, 9000)).await;
        client.edit_entry(&writer(&root), link("f", &child)).await.unwrap();
        let removed = unlink(&client, &root, "f").await;
        let store = crate::by_hand::store(&grid, 0);
        corrupt(&grid, 0, move |request| match request {
            Request::Leases(asked) => {
                let tag = asked.after.map_or(0, |after| u128::from_be_bytes(after.tag.0)) + 1;
                let next = LeaseAt { store: 0, hash: Bytes32([0; 32]), tag: Bytes16(tag.to_be_bytes()) };
                let (uptime_s, leases) = (9, Vec::new());
                Lie::message(&Reply::Ok(LeasesReply { store, uptime_s, leases, next: Some(next) }))
            }
            _ => Lie::Truth,
        });
        let client = grid.client_of("client1", "2/3/4", Timeouts::default());
        client.refresh().await;
        let gone = within(10 * MINUTE, purge(&client, &root, removed, &[&root])).await.unwrap();
        assert_eq!((gone.leases, gone.failures.len()), (3, 1), "{gone:?}");
        assert!(gone.failures[0].contains("has no end"), "{gone:?}");
    });
}

/// Its index is the one object of it that cannot be found: what hangs off it is not garbage for that.
#[test]
fn a_root_that_is_a_file_in_pieces_and_not_found_now_lets_nothing_go() {
    simulate(async {
        let mut grid = grid_of(8, 4).await;
        let client = grid.client("2/3/4").await;
        let root = client.make_directory().await.unwrap();
        // Stored for the sake of a root that does not link it, in pieces.
        let options = PutOptions { chunked: true, ..PutOptions::default() };
        let cap = client.under(root.cap()).put(Source::bytes(noise(1, 17 << 20)), options).await.unwrap().cap;
        sleep(5 * MINUTE).await;
        let hidden = Bytes32(*cap.verify_hash().unwrap().as_bytes());
        for server in 0..4 {
            corrupt(&grid, server, move |request| match request {
                Request::Lookup(lookup) if lookup.hash == hidden => {
                    Lie::message(&Reply::Ok(Found { shares: Vec::new(), descriptor: None }))
                }
                _ => Lie::Truth,
            });
        }
        let client = grid.client_of("client1", "2/3/4", Timeouts::default());
        client.refresh().await;
        let mut what = sweeping(&root, &[&root]);
        what.roots.push(NamedRoot { name: "file".into(), cap });
        let plan = client.plan_sweep(&what).await;
        let found = plan.as_ref().ok().map(|plan| (plan.orphans, plan.loose, plan.other, plan.young));
        assert!(matches!(plan, Err(LetGoError::Incomplete { .. })), "{found:?}");
    });
}

#[test]
fn where_not_all_can_be_walked_nothing_is_let_go() {
    simulate(async {
        let mut grid = grid_of(5, 5).await;
        let client = grid.client("2/4/5").await;
        let root = client.make_directory().await.unwrap();
        let under = client.under(root.cap());
        let below = under.make_directory_with(vec![(name("f"), file(&under, &noise(1, 9000)).await)]).await;
        let below = below.unwrap();
        client.edit_entry(&writer(&root), link("below", &below)).await.unwrap();
        let orphan = file(&under, &noise(2, 9000)).await;
        client.edit_entry(&writer(&root), link("x", &orphan)).await.unwrap();
        let removed = unlink(&client, &root, "x").await;
        client.close().await;
        sleep(2 * MINUTE).await;
        // Too few members are left to be sure that nothing newer is there.
        grid.kill(0);
        grid.kill(1);
        let swept = client.plan_sweep(&sweeping(&root, &[&root])).await.err();
        assert!(matches!(swept, Some(LetGoError::Incomplete { retryable: true, .. })), "{swept:?}");
        let purged = purge(&client, &root, removed.clone(), &[&root]).await;
        assert!(matches!(purged, Err(LetGoError::Incomplete { .. })), "{purged:?}");
        grid.restart(0).await.unwrap();
        grid.restart(1).await.unwrap();
        sleep(2 * MINUTE).await;
        // A link to a directory that nobody has.
        let far = SimGrid::start_silent(99, 3).await.client("1/1/1").await.make_directory().await.unwrap();
        client.edit_entry(&writer(&root), link("far", &far)).await.unwrap();
        let swept = client.plan_sweep(&sweeping(&root, &[&root])).await.err();
        let Some(LetGoError::Incomplete { unread, .. }) = swept else { panic!("{swept:?}") };
        assert_eq!(unread[0].cap.verify_hash(), far.cap().verify_hash());
        // Linked by a cap alone, a directory's list cannot be opened.
        unlink(&client, &root, "far").await;
        let bare = Child::new(below.cap().clone(), None).unwrap();
        client.edit_entry(&writer(&root), link("bare", &bare)).await.unwrap();
        let swept = client.plan_sweep(&sweeping(&root, &[&root])).await.err();
        assert!(matches!(swept, Some(LetGoError::Incomplete { retryable: false, .. })), "{swept:?}");
        unlink(&client, &root, "bare").await;
        let gone = purge(&client, &root, removed, &[&root]).await.unwrap();
        assert_eq!(gone.objects, 1);
    });
}

/// One process uploads what is there already, another plans to let it go, the first links it, and only then the other goes on. What the
/// first renews when it is through is all that keeps the file: where it does not come so far, the file goes.
#[test]
fn what_was_found_and_linked_after_a_walk_stays_because_it_is_leased_anew() {
    for through in [false, true] {
        simulate(async {
            let mut grid = grid_of(95, 4).await;
            let setup = grid.client("2/3/4").await;
            let root = setup.make_directory().await.unwrap();
            let of = |label: &str| grid.client_of(label, "2/3/4", Timeouts::default()).under(root.cap());
            let (links, sweeps) = (of("same"), of("same"));
            links.refresh().await;
            sweeps.refresh().await;
            let data = noise(95, 9000);
            // An orphan of an upload that was never linked.
            file(&sweeps, &data).await;
            sleep(MINUTE).await;
            let found = file(&links, &data).await;
            sleep(MINUTE).await;
            let what = SweepWhat { older_than: Duration::ZERO, ..sweeping(&root, &[&root]) };
            let plan = sweeps.plan_sweep(&what).await.unwrap();
            assert_eq!(plan.orphans.objects, 1);
            sleep(MINUTE).await;
            links.edit_entry(&writer(&root), link("found", &found)).await.unwrap();
            if through {
                links.close().await;
            }
            sleep(MINUTE).await;
            let gone = sweeps.sweep(plan, false, None).await.unwrap();
            sleep(GRACE + 10 * MINUTE).await;
            match through {
                true => drop(reads_back(&setup, found.cap(), &data).await),
                false => is_gone(&setup, found.cap()).await,
            }
            assert_eq!(gone.renewed > 0, through, "{gone:?}");
        });
    }
}

/// Two processes of one account: one links what the other lets go, again and again, and moves it about.
#[test]
fn whoever_races_with_letting_go_loses_nothing_that_is_linked() {
    let mut let_go = 0;
    for seed in seeds(12) {
        let_go += simulate(race(seed));
    }
    assert!(let_go > 20, "nothing much was let go: {let_go} objects");
}

async fn race(seed: u64) -> u64 {
    let mut grid = grid_of(seed, 4).await;
    let setup = grid.client("2/3/4").await;
    let root = setup.make_directory().await.unwrap();
    let (left, right) = (setup.make_directory().await.unwrap(), setup.make_directory().await.unwrap());
    for (text, child) in [("left", &left), ("right", &right)] {
        setup.edit_entry(&writer(&root), link(text, child)).await.unwrap();
    }
    let of = |label: &str| grid.client_of(label, "2/3/4", Timeouts::default()).under(root.cap());
    let (first, second) = (of("same"), of("same"));
    first.refresh().await;
    second.refresh().await;
    let folders = Arc::new([left.clone(), right.clone()]);
    let links = tokio::spawn(links(first, folders.clone(), Arc::new(grid.random.fork("links"))));
    let purges = purges(&second, &root, &folders, &grid.random.fork("purges")).await;
    links.await.unwrap();
    sleep(GRACE + 10 * MINUTE).await;
    for folder in folders.iter() {
        let view = setup.open_directory(folder.cap()).await.unwrap();
        for (name, entry) in view.list().await.unwrap() {
            let got = get(&setup, &entry.cap).await;
            assert!(got.is_ok(), "seed {seed}: {name}, which is linked, was let go: {got:?}");
        }
    }
    purges
}

fn below(random: &dyn Random, n: u64) -> u64 {
    let mut bytes = [0; 8];
    random.fill(&mut bytes);
    u64::from_le_bytes(bytes) % n
}

fn slot_name(random: &dyn Random) -> Name {
    name(&format!("f{}", below(random, 3)))
}

async fn links(client: Client, folders: Arc<[Child; 2]>, random: Arc<dyn Random>) {
    for _ in 0..40 {
        sleep(Duration::from_millis(below(&*random, 3000))).await;
        let at = below(&*random, 2) as usize;
        let (from, to) = (&folders[at], &folders[1 - at]);
        if below(&*random, 2) == 0 {
            let child = Box::new(file(&client, &noise(below(&*random, 3) as u8, 9000)).await);
            sleep(Duration::from_millis(below(&*random, 9000))).await;
            let edit = DirEdit::Link { name: slot_name(&*random), child, replace: Replace::Yes };
            client.edit_entry(&writer(to), edit).await.unwrap();
            client.renew_held().await;
            continue;
        }
        let moved = slot_name(&*random);
        let view = client.open_directory(from.cap()).await.unwrap();
        let Some(entry) = view.get(&moved).await.unwrap() else { continue };
        let child = Box::new(view.child_of(&entry).unwrap());
        let edit = DirEdit::Link { name: moved.clone(), child, replace: Replace::Yes };
        client.edit_entry(&writer(to), edit).await.unwrap();
        let _ =
            client.edit_entry(&writer(from), DirEdit::Unlink { name: moved, only: Some(entry.cap) }).await;
    }
}

async fn purges(client: &Client, root: &Child, folders: &[Child; 2], random: &dyn Random) -> u64 {
    let mut gone = 0;
    for _ in 0..25 {
        sleep(Duration::from_millis(below(random, 2000))).await;
        if below(random, 4) == 0 {
            let what = SweepWhat { older_than: Duration::ZERO, ..sweeping(root, &[root]) };
            if let Ok(plan) = client.plan_sweep(&what).await {
                gone += client.sweep(plan, false, None).await.unwrap().objects;
            }
            continue;
        }
        let edit = DirEdit::Unlink { name: slot_name(random), only: None };
        let folder = &folders[below(random, 2) as usize];
        let Ok(edited) = client.edit_entry(&writer(folder), edit).await else { continue };
        let removed = edited.before.unwrap().cap;
        match purge(client, root, removed, &[root]).await {
            Ok(done) => gone += done.objects,
            Err(error) => assert!(matches!(error, LetGoError::Changing), "{error}"),
        }
    }
    gone
}
