//! What is to be sent, and what whoever waits for it waits for.

use std::collections::HashSet;
use std::time::Duration;

use encoding::directory::{EntryKind, Name};

use super::{Plan, Wanted};
use crate::mount::Options;
use crate::state::{Owed, State, identity_of};
use crate::types::Ino;

/// Names that travel in one round in the background, so that whoever waits for one of his own gets his turn.
const ROUND: usize = 2000;
/// A file that is being written is sent all the same after so long.
const OPEN_FOR: Duration = Duration::from_secs(5);

/// What the grid did not have when somebody began to wait for it.
pub(super) enum Debt {
    /// The change of this number, of the name that leads to this.
    Link(Ino, u64),
    /// The change of this number, which took a name out of a folder.
    Unlink(Ino, Name, u64),
}

impl State {
    /// How many folders stand above it.
    pub(super) fn depth(&self, ino: Ino) -> usize {
        self.above(ino).count()
    }

    /// The names of a folder that go in this pass: before anything leaves for good, what arrives; `leaving`, the rest. What was renamed
    /// leaves its old name with its new one, where both stand in one folder, and otherwise once it stands there.
    pub(super) fn passing(
        &self,
        folder: Ino,
        names: &[(Name, Owed)],
        (leaving, failed): (bool, &HashSet<Ino>),
    ) -> Vec<(Name, Owed)> {
        let goes = |(name, owed): &&(Name, Owed)| {
            let stored = owed.to.is_none_or(|ino| !failed.contains(&ino));
            // What is in a folder may be on its way to another place.
            let in_time = leaving || owed.to.is_some() || !self.is_folder_there(folder, name);
            let waits = |(ino, to, new): &(Ino, Ino, Name)| {
                if *to == folder {
                    failed.contains(ino) || !names.iter().any(|(other, _)| other == new)
                } else {
                    !self.is_circular((folder, name), (*to, new))
                }
            };
            stored && in_time && !self.arriving(owed).iter().any(waits)
        };
        names.iter().filter(goes).cloned().collect()
    }

    fn is_folder_there(&self, folder: Ino, name: &Name) -> bool {
        let entry = self.folder(folder).ok().and_then(|folder| folder.entries.get(name));
        entry.is_some_and(|entry| entry.kind == EntryKind::Directory)
    }

    /// What had this name and is not on the grid under its new one yet; where that is.
    fn arriving(&self, owed: &Owed) -> Vec<(Ino, Ino, Name)> {
        let arriving =
            owed.moved.iter().filter(|ino| self.owed_of(**ino).is_some() && !self.has_arrived(**ino));
        let place = |ino: &Ino| self.above(*ino).next().map(|(to, name)| (*ino, to, name.clone()));
        arriving.filter_map(place).collect()
    }

    /// Whether the grid has this under its name, be it as it was some writes ago.
    fn has_arrived(&self, ino: Ino) -> bool {
        let base = self.owed_of(ino).and_then(|owed| owed.base.as_ref());
        let node = self.node(ino).ok();
        let known = node.and_then(|node| Some(identity_of(&node.child.as_ref()?.caps.read, &node.meta)));
        base.is_some() && base == known.as_ref()
    }

    /// Whether one name waits for another that waits, in the end, for it: two that changed places. Then one of them goes first.
    fn is_circular(&self, from: (Ino, &Name), to: (Ino, &Name)) -> bool {
        let (mut left, mut seen) = (vec![(to.0, to.1.clone())], HashSet::new());
        while let Some((folder, name)) = left.pop() {
            if (folder, &name) == from {
                return true;
            }
            let owed = self.folder(folder).ok().and_then(|folder| folder.owed.get(&name));
            if let Some(owed) = owed.filter(|_| seen.insert((folder, name))) {
                left.extend(self.arriving(owed).into_iter().map(|(_, to, name)| (to, name)));
            }
        }
        false
    }

    /// Chooses what to send, and marks it.
    pub(super) fn plan(&mut self, wanted: Wanted, options: &Options) -> Plan {
        let mut plan = match wanted {
            Wanted::Chain(ino) => self.chain(ino),
            Wanted::Ready | Wanted::All => self.waiting(matches!(wanted, Wanted::All), options),
        };
        self.add_arrivals(&mut plan);
        plan.retain(|_, names| !names.is_empty());
        self.mark(&plan, true);
        plan
    }

    /// These names are on their way to the grid, or are not any more.
    pub(super) fn mark(&mut self, plan: &Plan, sending: bool) {
        for (folder, names) in plan {
            let Ok(folder) = self.folder_mut(*folder) else { continue };
            for (name, _) in names {
                if let Some(owed) = folder.owed.get_mut(name) {
                    owed.sending = sending;
                }
            }
        }
    }

    /// Where a name waits for another, that one goes along, with the names that lead to it.
    fn add_arrivals(&self, plan: &mut Plan) {
        let mut left: Vec<Owed> = plan.values().flatten().map(|(_, owed)| owed.clone()).collect();
        while let Some(owed) = left.pop() {
            for (ino, ..) in self.arriving(&owed) {
                for (folder, name) in self.above(ino) {
                    let owed = self.folder(folder).ok().and_then(|folder| folder.owed.get(name));
                    let names = plan.entry(folder).or_default();
                    if let Some(owed) = owed
                        && !names.iter().any(|(known, _)| known == name)
                    {
                        names.push((name.clone(), owed.clone()));
                        left.push(owed.clone());
                    }
                }
            }
        }
    }

    fn waiting(&self, all: bool, options: &Options) -> Plan {
        let (mut plan, mut count) = (Plan::new(), 0);
        let pressed = self.dirty >= options.dirty_max / 2;
        for ino in &self.owing {
            let Ok(folder) = self.folder(*ino) else { continue };
            // Of one that was removed, nothing is wanted any more.
            if !self.is_reached(*ino) {
                continue;
            }
            let ready = |(_, owed): &(&Name, &Owed)| {
                let open = owed.to.is_some_and(|ino| self.file(ino).is_ok_and(|file| file.writers > 0));
                all || pressed || owed.since.elapsed() >= if open { OPEN_FOR } else { options.linger }
            };
            let names: Vec<(Name, Owed)> =
                folder.owed.iter().filter(ready).map(|(name, owed)| (name.clone(), owed.clone())).collect();
            count += names.len();
            plan.insert(*ino, names);
            if count >= ROUND && !all {
                break;
            }
        }
        plan
    }

    /// What is owed of the names that lead to this and, if it is a folder, of the names in it.
    pub(super) fn debts(&self, target: Ino) -> Vec<Debt> {
        let mut debts = Vec::new();
        if let Ok(folder) = self.folder(target) {
            let wanted = folder.owed.iter().filter(|(_, owed)| !self.is_being_made(owed));
            debts.extend(wanted.map(|(name, owed)| match owed.to {
                Some(ino) => Debt::Link(ino, owed.seq),
                None => Debt::Unlink(target, name.clone(), owed.seq),
            }));
        }
        debts.extend(self.owed_of(target).map(|owed| Debt::Link(target, owed.seq)));
        debts.extend(self.debts_above(target));
        debts
    }

    /// What is owed of the names that lead to the folders above this.
    pub(super) fn debts_above(&self, target: Ino) -> Vec<Debt> {
        let above = self.above(target).map(|(folder, _)| folder);
        above.filter_map(|ino| Some(Debt::Link(ino, self.owed_of(ino)?.seq))).collect()
    }

    /// What is owed of the name that leads to this.
    pub(crate) fn owed_of(&self, ino: Ino) -> Option<&Owed> {
        let (folder, name) = self.above(ino).next()?;
        self.folder(folder).ok()?.owed.get(name).filter(|owed| owed.to == Some(ino))
    }

    /// Whether any of this is owed still. What was renamed meanwhile is owed under its new name; what was removed is not.
    pub(super) fn owes_any(&self, debts: &[Debt]) -> bool {
        debts.iter().any(|debt| match debt {
            Debt::Link(ino, seq) => {
                self.owed_of(*ino).is_some() && self.node(*ino).is_ok_and(|node| node.linked < *seq)
            }
            Debt::Unlink(folder, name, seq) => {
                let folder = self.folder(*folder);
                folder.is_ok_and(|folder| folder.owed.get(name).is_some_and(|owed| owed.seq <= *seq))
            }
        })
    }

    /// Whether this is a file that somebody is still writing, and the grid knows nothing of it.
    fn is_being_made(&self, owed: &Owed) -> bool {
        let made = |ino| {
            let written = self.file(ino).is_ok_and(|file| file.writers > 0);
            written && self.node(ino).is_ok_and(|node| node.child.is_none())
        };
        owed.base.is_none() && owed.to.is_some_and(made)
    }

    /// The names that lead to this, with what was done in the same folders: half of an exchange would be a loss. Files that others are
    /// still writing for the first time are left out.
    fn chain(&self, target: Ino) -> Plan {
        let mut plan = Plan::new();
        let inside = self.folder(target).is_ok().then_some(target);
        for folder in inside.into_iter().chain(self.above(target).map(|(folder, _)| folder)) {
            let Ok(owing) = self.folder(folder) else { continue };
            let wanted = |(_, owed): &(&Name, &Owed)| owed.to == Some(target) || !self.is_being_made(owed);
            let names = owing.owed.iter().filter(wanted).map(|(n, o)| (n.clone(), o.clone())).collect();
            plan.insert(folder, names);
        }
        plan
    }
}
