//! Histories of one register whose value is the operations applied to it.
//!
//! Why the check is exact: sort the distinct sets that were read, smallest first, and give each operation a place. A read of set number k
//! has place 2k+1; an addition that is first found in set k has place 2k, and one that is acknowledged and in no set comes after all. In
//! every sequential order that explains the reads, calls of different places come in the order of their places (a read lies between any
//! two), and calls of one place may come in any order. So there is one that also respects real time if and only if no call that had ended
//! before another began has the higher place.

use std::collections::{BTreeMap, BTreeSet};

/// What names an operation.
pub type OpId = u64;

/// What an addition reported.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Added {
    /// It is applied.
    Done,
    /// It is not and never will be.
    Refused,
    /// It may be applied, at any time after it began; its caller may also have crashed.
    Unknown,
}

/// A call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Call {
    /// An addition.
    Add {
        /// Of what.
        id: OpId,
        /// What it reported.
        outcome: Added,
    },
    /// A confirmed read.
    Confirmed {
        /// Everything that was in the value, as often as it was.
        ids: Vec<OpId>,
        /// Orders the values, if the reader was told anything that does.
        version: Option<u64>,
    },
    /// A read that may be old and may vanish: it must not hold what nobody ever wrote.
    NewestSeen {
        /// Everything that was in the value.
        ids: Vec<OpId>,
    },
}

/// A call and when it was made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Timed {
    /// Before it began.
    pub begin: u64,
    /// After it returned. Of an addition with unknown outcome it is not looked at.
    pub end: u64,
    /// The call.
    pub call: Call,
}

/// Why a history is not linearizable. Numbers are places in the history.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Violation {
    /// An operation id was used twice by the test itself.
    #[error("the history adds {id} twice")]
    AddedTwice {
        /// Of what.
        id: OpId,
    },
    /// An operation is in a value twice.
    #[error("call {read} shows {id} twice")]
    AppliedTwice {
        /// The read.
        read: usize,
        /// What it shows.
        id: OpId,
    },
    /// A value holds what nobody had begun to add.
    #[error("call {read} shows {id}, which nobody had begun to add")]
    Invented {
        /// The read.
        read: usize,
        /// What it shows.
        id: OpId,
    },
    /// A refused operation was applied.
    #[error("call {read} shows {id}, which was refused")]
    Refused {
        /// The read.
        read: usize,
        /// What it shows.
        id: OpId,
    },
    /// Neither of two values came from the other.
    #[error("neither of the values of calls {one} and {other} came from the other")]
    Forked {
        /// A read.
        one: usize,
        /// Another.
        other: usize,
    },
    /// Versions order two values otherwise than their contents do.
    #[error("the versions of calls {one} and {other} contradict their values")]
    Versions {
        /// A read of less, or of the same.
        one: usize,
        /// Another.
        other: usize,
    },
    /// A call had ended before another began, and must have come after it: an acknowledged operation is lost, or a read went back.
    #[error("call {earlier} had ended before call {later} began, which knows nothing of it")]
    WentBack {
        /// The call that ended.
        earlier: usize,
        /// The call that began after it.
        later: usize,
    },
}

/// Whether a history is linearizable.
///
/// # Errors
///
/// [`Violation`]: the first that was found.
pub fn check(history: &[Timed]) -> Result<(), Violation> {
    let adds = additions(history)?;
    for (at, timed) in history.iter().enumerate() {
        if let Call::Confirmed { ids, .. } | Call::NewestSeen { ids } = &timed.call {
            contents(at, ids, timed.end, &adds)?;
        }
    }
    let levels = levels(history)?;
    let places = places(history, &levels);
    real_time(history, &places)
}

type Adds = BTreeMap<OpId, (u64, Added)>;

fn additions(history: &[Timed]) -> Result<Adds, Violation> {
    let mut adds = Adds::new();
    for timed in history {
        if let Call::Add { id, outcome } = timed.call
            && adds.insert(id, (timed.begin, outcome)).is_some()
        {
            return Err(Violation::AddedTwice { id });
        }
    }
    Ok(adds)
}

fn contents(read: usize, ids: &[OpId], end: u64, adds: &Adds) -> Result<(), Violation> {
    let mut seen = BTreeSet::new();
    for id in ids.iter().copied() {
        if !seen.insert(id) {
            return Err(Violation::AppliedTwice { read, id });
        }
        match adds.get(&id) {
            Some((_, Added::Refused)) => return Err(Violation::Refused { read, id }),
            Some((begin, _)) if *begin <= end => {}
            _ => return Err(Violation::Invented { read, id }),
        }
    }
    Ok(())
}

/// A confirmed value.
struct Level {
    ids: BTreeSet<OpId>,
    reads: Vec<usize>,
}

/// The distinct values that were confirmed, smallest first.
fn levels(history: &[Timed]) -> Result<Vec<Level>, Violation> {
    let mut reads: Vec<(usize, BTreeSet<OpId>, Option<u64>)> = Vec::new();
    for (at, timed) in history.iter().enumerate() {
        if let Call::Confirmed { ids, version } = &timed.call {
            reads.push((at, ids.iter().copied().collect(), *version));
        }
    }
    reads.sort_by_key(|(at, ids, version)| (ids.len(), *version, *at));
    let mut versions: Option<(u64, usize)> = None;
    let mut levels: Vec<Level> = Vec::new();
    for (at, ids, version) in reads {
        let same = levels.last().is_some_and(|level| level.ids == ids);
        match levels.last_mut() {
            Some(last) if same => last.reads.push(at),
            Some(last) if !last.ids.is_subset(&ids) => {
                return Err(Violation::Forked { one: last.reads[0], other: at });
            }
            _ => levels.push(Level { ids, reads: vec![at] }),
        }
        if let Some(version) = version {
            // One value may have many versions; one version has one value.
            if let Some((before, one)) = versions
                && (version < before || (version == before && !same))
            {
                return Err(Violation::Versions { one, other: at });
            }
            versions = Some((version, at));
        }
    }
    Ok(levels)
}

/// Where each call must come; `None` where nothing is asked of it.
fn places(history: &[Timed], levels: &[Level]) -> Vec<Option<usize>> {
    let (mut added, mut read) = (BTreeMap::new(), BTreeMap::new());
    for (number, level) in levels.iter().enumerate() {
        for id in &level.ids {
            added.entry(*id).or_insert(2 * number);
        }
        read.extend(level.reads.iter().map(|at| (*at, 2 * number + 1)));
    }
    let place = |(at, timed): (usize, &Timed)| match timed.call {
        Call::Add { id, outcome: Added::Done } => Some(added.get(&id).copied().unwrap_or(2 * levels.len())),
        Call::Add { id, outcome: Added::Unknown } => added.get(&id).copied(),
        Call::Add { outcome: Added::Refused, .. } | Call::NewestSeen { .. } => None,
        Call::Confirmed { .. } => read.get(&at).copied(),
    };
    history.iter().enumerate().map(place).collect()
}

/// No call that had ended when another began has the higher place.
fn real_time(history: &[Timed], places: &[Option<usize>]) -> Result<(), Violation> {
    let placed = || places.iter().enumerate().filter_map(|(at, place)| place.map(|place| (at, place)));
    let ended = |at: usize| !matches!(history[at].call, Call::Add { outcome: Added::Unknown, .. });
    let mut ends: Vec<(u64, usize, usize)> =
        placed().filter(|(at, _)| ended(*at)).map(|(at, place)| (history[at].end, place, at)).collect();
    let mut begins: Vec<(u64, usize, usize)> =
        placed().map(|(at, place)| (history[at].begin, place, at)).collect();
    ends.sort_unstable();
    begins.sort_unstable();
    let mut ends = ends.into_iter().peekable();
    let mut highest: Option<(usize, usize)> = None;
    for (begin, place, later) in begins {
        while let Some((_, place, at)) = ends.next_if(|(end, ..)| *end < begin) {
            highest = highest.max(Some((place, at)));
        }
        if let Some((_, earlier)) = highest.filter(|(high, _)| *high > place) {
            return Err(Violation::WentBack { earlier, later });
        }
    }
    Ok(())
}
