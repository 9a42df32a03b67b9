//! What a state of the model holds.

/// Members in a case, at most.
pub(crate) const MEMBERS: usize = 5;
/// Attempts in a case, at most.
pub(crate) const ATTEMPTS: usize = 5;

/// A number of a record: 0 the first record of the slot, else one above the attempt that made it (each makes one at most).
pub(crate) type Record = u8;

/// Operations applied, oldest first, four bits each.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub(crate) struct Value(u32);

impl Value {
    pub(crate) fn with(self, op: u8) -> Self {
        Self(self.0 | u32::from(op) << (4 * self.len()))
    }

    pub(crate) fn ops(self) -> impl Iterator<Item = u8> {
        (0..self.len()).map(move |at| (self.0 >> (4 * at)) as u8 & 15)
    }

    pub(crate) fn contains(self, op: u8) -> bool {
        self.ops().any(|known| known == op)
    }

    pub(crate) fn len(self) -> u32 {
        (32 - self.0.leading_zeros()).div_ceil(4)
    }

    /// Whether `later` came from this by applying more.
    pub(crate) fn leads_to(self, later: Self) -> bool {
        let mask = (1u64 << (4 * self.len())) - 1;
        u64::from(later.0) & mask == u64::from(self.0)
    }
}

impl std::fmt::Debug for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.ops()).finish()
    }
}

/// Which configs name a member.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub(crate) enum Side {
    #[default]
    Both,
    Old,
    New,
}

/// The config of a record.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub(crate) enum Config {
    #[default]
    Old,
    Joint,
    New,
}

impl Config {
    /// Whether it names members of this side.
    pub(crate) fn names(self, side: Side) -> bool {
        match self {
            Self::Old => side != Side::New,
            Self::New => side != Side::Old,
            Self::Joint => true,
        }
    }
}

/// A member: what it keeps, and everything it ever answered. Answers stay in the network for ever, so that each may arrive late, twice
/// or never.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub(crate) struct Member {
    pub(crate) side: Side,
    /// The highest ballot promised.
    pub(crate) promise: u8,
    pub(crate) accepted: Record,
    /// It lost its state and knows: it neither promises nor counts.
    pub(crate) blank: bool,
    /// For each attempt that may still build on it, the record it showed when it promised, plus one; 0 if it never did.
    pub(crate) replied: [u8; ATTEMPTS],
    /// The records it ever said yes to and that are not yet chosen, a bit each.
    pub(crate) voted: u8,
    /// It answered the read that is under way.
    pub(crate) read: bool,
}

/// How far an attempt came. Before that it may have sent prepares.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub(crate) enum Phase {
    #[default]
    Preparing,
    /// It signed a record and sent it.
    Sent,
    /// It reported an outcome from the base alone.
    Concluded,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub(crate) struct Attempt {
    pub(crate) phase: Phase,
    /// Of its record, or of the base it concluded from.
    pub(crate) value: Value,
    pub(crate) config: Config,
    /// What it built on.
    pub(crate) base: Record,
    /// A quorum accepted its record.
    pub(crate) chosen: bool,
}

/// The reader. A read begins with its first answer: had it begun earlier, less would be asked of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub(crate) struct Reader {
    pub(crate) reads_left: u8,
    /// The record it wants to confirm, if a read is under way.
    pub(crate) target: Option<Record>,
    /// What the read must show.
    pub(crate) floor: Value,
    /// What the last read showed.
    pub(crate) last: Value,
    pub(crate) went_back: bool,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct State {
    /// Sorted: members of one side differ in nothing but what they did.
    pub(crate) members: [Member; MEMBERS],
    pub(crate) attempts: [Attempt; ATTEMPTS],
    pub(crate) reader: Reader,
    pub(crate) forgets_left: u8,
}

impl State {
    pub(crate) fn value(&self, record: Record) -> Value {
        record.checked_sub(1).map_or(Value::default(), |attempt| self.attempts[attempt as usize].value)
    }

    pub(crate) fn config(&self, record: Record) -> Config {
        record.checked_sub(1).map_or(Config::Old, |attempt| self.attempts[attempt as usize].config)
    }

    /// The config of what a record was built on.
    pub(crate) fn base_config(&self, record: Record) -> Config {
        let base = record.checked_sub(1).map_or(0, |attempt| self.attempts[attempt as usize].base);
        self.config(base)
    }
}
