//! What no root of this account reaches any more: orphans of crashes, of races, and of what was unlinked.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use caps::VerifyHash;
use protocol::message::LeaseQuery;
use protocol::session::RequestError;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::ask::{Done, Own, end, gather, pages};
use super::reach::{Options, Reach};
use super::{LetGoError, LetGone, NamedRoot, forget};
use crate::Client;
use crate::backup_db::BackupDb;
use crate::grid::Server;
use crate::tags::{Tag, loose_tag, root_tag, slot_tag};

/// What a sweep looks for.
#[derive(Clone, Debug)]
pub struct SweepWhat {
    /// All roots of this account. What any of them reaches stays.
    pub roots: Vec<NamedRoot>,
    /// H of those whose garbage is looked for.
    pub of: Vec<VerifyHash>,
    /// Leases that were made or renewed more lately than this stay: an upload may be under way.
    pub older_than: Duration,
    /// Whether the loose may be let go, too: then each file is asked whether more hangs off it than its link says.
    pub loose: bool,
}

/// Things of one kind that no root reaches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pile {
    /// Different objects and slots.
    pub objects: u64,
    /// Bytes on all servers.
    pub bytes: u64,
    /// Leases on them, over all servers.
    pub leases: u64,
}

/// Why something is leased that no root reaches.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Class {
    /// For the sake of a root that does not reach it any more.
    Orphan,
    /// For itself: somebody may keep its cap.
    Loose,
    /// For the sake of something that is none of these roots.
    Other,
}

/// What a sweep found and may let go. Dropped, it does nothing.
pub struct SweepPlan {
    /// What the roots no longer reach.
    pub orphans: Pile,
    /// What was stored without a path, and what hangs off it.
    pub loose: Pile,
    /// What is held for roots that were not named: those of aliases that are gone, or bare capabilities.
    pub other: Pile,
    /// Leases on what is not reached that are too young to tell.
    pub young: u64,
    /// Objects and slots that the roots reach.
    pub reached: u64,
    /// Servers that did not say what they keep, and why.
    pub failures: Vec<String>,
    begun: Instant,
    strays: Vec<(Server, Vec<(Own, Class)>)>,
}

impl Client {
    /// Finds what no root reaches.
    ///
    /// # Errors
    ///
    /// [`LetGoError`]: where not all roots can be walked there is no telling.
    pub async fn plan_sweep(&self, what: &SweepWhat) -> Result<SweepPlan, LetGoError> {
        let begun = Instant::now();
        let options = Options { look_into_leaves: what.loose, ..Options::default() };
        let kept = Arc::new(self.reach_surely(&what.roots, &options).await?);
        let mut asking = JoinSet::new();
        for server in self.grid().servers() {
            let (client, kept) = (self.clone(), kept.clone());
            asking.spawn(async move {
                let strays = strays_at(&client, &server, &kept).await;
                (server, strays)
            });
        }
        let mut plan = SweepPlan {
            orphans: Pile::default(),
            loose: Pile::default(),
            other: Pile::default(),
            young: 0,
            reached: kept.len() as u64,
            failures: Vec::new(),
            begun,
            strays: Vec::new(),
        };
        let mut all = Vec::new();
        while let Some(answered) = asking.join_next().await {
            let Ok((server, strays)) = answered else { continue };
            match strays {
                Ok(strays) => all.push((server, strays)),
                Err(_) if self.is_revoked(&server) => {}
                Err(error) => plan.failures.push(format!("{}: {error}", server.name())),
            }
        }
        plan.failures.sort();
        plan.sort(all, what, &kept);
        Ok(plan)
    }

    /// Lets go the orphans of a plan, and of the others what is wanted; but nothing that was leased anew since the plan was begun.
    ///
    /// # Errors
    ///
    /// [`LetGoError::Memory`]: what backups remember of it has to be forgotten first.
    pub async fn sweep(
        &self,
        plan: SweepPlan,
        loose: bool,
        memory: Option<Arc<BackupDb>>,
    ) -> Result<LetGone, LetGoError> {
        let going = plan.strays.iter().flat_map(|(_, strays)| strays);
        let going = going.filter(|(_, class)| loose || *class == Class::Orphan);
        forget(self, memory, going.map(|(own, _)| own.hash).collect()).await?;
        let mut asking = JoinSet::new();
        for (server, strays) in plan.strays {
            let (client, begun) = (self.clone(), plan.begun);
            asking.spawn(async move {
                let goes: HashSet<(VerifyHash, Tag)> = strays
                    .iter()
                    .filter(|(_, class)| loose || *class == Class::Orphan)
                    .map(|(own, _)| (own.hash, own.tag))
                    .collect();
                let held: Vec<Own> = strays.into_iter().map(|(own, _)| own).collect();
                let mut done = Done::default();
                let takes = |own: &Own| goes.contains(&(own.hash, own.tag));
                let ended = end(&client, &server, &held, takes, Some(begun), &mut done).await;
                (server, (done, ended.err()))
            });
        }
        Ok(gather(self, asking).await)
    }
}

/// All leases of this account at one server on what is not reached.
async fn strays_at(client: &Client, server: &Server, kept: &Reach) -> Result<Vec<Own>, RequestError> {
    let mut strays = Vec::new();
    pages(client, server, LeaseQuery::All, |own| {
        if !kept.holds(&own.hash) {
            strays.push(own);
        }
    })
    .await?;
    Ok(strays)
}

/// The reasons for which something is leased, as bits.
struct HeldFor;

impl HeldFor {
    /// A root that is swept.
    const ROOT: u8 = 1;
    /// Itself.
    const LOOSE: u8 = 2;
    /// It is a root, and somebody renews it as one.
    const OWN: u8 = 4;
    /// Anything else.
    const OTHER: u8 = 8;
}

/// For what each stray is leased, by the word of all servers together. A slot that a root made and does not reach has things of its own, and
/// so has one that was made by itself; they go when the slot is held for nothing else. So a server that invents a lease takes nothing from
/// what others know to be held.
fn held_for<'a>(strays: impl Iterator<Item = &'a Own>, roots: &HashSet<Tag>) -> HashMap<VerifyHash, u8> {
    let loose = loose_tag();
    let mut held: HashMap<VerifyHash, u8> = HashMap::new();
    for own in strays {
        *held.entry(own.hash).or_default() |= match &own.tag {
            tag if roots.contains(tag) => HeldFor::ROOT,
            tag if *tag == loose => HeldFor::LOOSE,
            tag if *tag == root_tag(&own.hash) => HeldFor::OWN,
            _ => HeldFor::OTHER,
        };
    }
    held
}

impl SweepPlan {
    /// Tells orphans from what is loose, by the tags.
    fn sort(&mut self, all: Vec<(Server, Vec<Own>)>, what: &SweepWhat, kept: &Reach) {
        let roots: HashSet<Tag> = what.of.iter().map(root_tag).collect();
        let mut orphaned: HashSet<Tag> = kept.slots.iter().map(slot_tag).collect();
        let mut loosed = HashSet::from([loose_tag()]);
        for (hash, held) in held_for(all.iter().flat_map(|(_, strays)| strays), &roots) {
            if held == HeldFor::ROOT {
                orphaned.insert(slot_tag(&hash));
            } else if held & HeldFor::LOOSE != 0 && held & HeldFor::OTHER == 0 {
                loosed.extend([slot_tag(&hash), root_tag(&hash)]);
            }
        }
        let class = |tag: &Tag| match tag {
            tag if roots.contains(tag) || orphaned.contains(tag) => Class::Orphan,
            tag if loosed.contains(tag) => Class::Loose,
            _ => Class::Other,
        };
        let mut seen: BTreeMap<Class, HashSet<VerifyHash>> = BTreeMap::new();
        for (server, strays) in all {
            let mut sorted = Vec::new();
            let mut charged = HashSet::new();
            for own in strays {
                if !own.is_older(self.begun) || Duration::from_secs(own.age_s) < what.older_than {
                    self.young += 1;
                    continue;
                }
                let class = class(&own.tag);
                let pile = match class {
                    Class::Orphan => &mut self.orphans,
                    Class::Loose => &mut self.loose,
                    Class::Other => &mut self.other,
                };
                pile.leases += 1;
                pile.objects += u64::from(seen.entry(class).or_default().insert(own.hash));
                if charged.insert((own.store, own.hash)) {
                    pile.bytes = pile.bytes.saturating_add(own.bytes);
                }
                sorted.push((own, class));
            }
            self.strays.push((server, sorted));
        }
    }
}
