//! The protocol as a transition system: see docs/spec/slots.md, whose section numbers the comments name.
//!
//! Nothing sent is ever taken out of the network, so whatever was sent may arrive now, later, twice or never; a proposer that crashes
//! takes no more steps; both need no steps of their own. Left out are prepares that arrive when their attempt has gone on or has its
//! quorum: those only keep others from being accepted.

use stateright::{Model, Property};

use crate::properties;
use crate::state::{ATTEMPTS, Config, MEMBERS, Member, Phase, Record, Side, State};

/// What an attempt tries to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// Append this operation (1 to 15), unless the base has it.
    Append(u8),
    /// Old to joint, joint to new.
    Advance,
}

/// An attempt that may be made. Those of one writer come in order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) writer: u8,
    pub(crate) ballot: u8,
    pub(crate) kind: Kind,
    /// The accept of the writer's attempt before carries a prepare for this one.
    pub(crate) piggybacked: bool,
}

/// What a member is that lost its state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Amnesia {
    /// Blank, under a new incarnation.
    Blank,
    /// It takes itself for fresh: it does not know what it lost.
    Fresh,
    /// Its promise is gone and its record is not: the sync of the promise was skipped.
    PromiseOnly,
    /// As [`Amnesia::Fresh`], of members that are of the old config alone, once the new one is chosen: the forward is dropped.
    Forward,
}

/// When a writer may report an outcome from the base, without a record of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Conclusion {
    /// When q of the base's config showed just this record.
    Settled,
    /// When it sees a base that has its operation.
    OnSight,
}

/// Which joint record may be followed by the new config.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Second {
    /// One that q of the old and q of the new showed when they promised: it is chosen.
    OnSettled,
    /// Any, if a quorum of the base's config accepts the second record too.
    OnSight,
}

/// A case: sizes, what may happen, and which rules are kept.
#[derive(Clone, Debug)]
pub(crate) struct Slots {
    /// Members of both configs, of the old alone, of the new alone.
    pub(crate) sides: [usize; 3],
    pub(crate) q: usize,
    /// Members of the old config that lie: they promise and accept everything and show any record there is. They have no state, so
    /// they are not among `sides`.
    pub(crate) liars: usize,
    pub(crate) plans: Vec<Plan>,
    pub(crate) reads: u8,
    pub(crate) forgets: u8,
    pub(crate) amnesia: Amnesia,
    pub(crate) conclusion: Conclusion,
    pub(crate) second: Second,
    /// Readers confirm (section 6); otherwise they take the newest of q.
    pub(crate) confirms: bool,
    /// A ballot is promised once; otherwise again whenever asked.
    pub(crate) promises_once: bool,
    /// A retry finds its operation in the base.
    pub(crate) remembers_ops: bool,
    /// A yes to an accept that carried a prepare is taken for the promise, even when it was given from memory.
    pub(crate) yes_is_promise: bool,
}

impl Slots {
    /// A case without faults, in which all rules are kept.
    pub(crate) fn new(n: usize, q: usize, plans: &[(u8, Kind)]) -> Self {
        let plan = |(at, (writer, kind)): (usize, &(u8, Kind))| Plan {
            writer: *writer,
            ballot: at as u8 + 1,
            kind: *kind,
            piggybacked: false,
        };
        Self {
            sides: [n, 0, 0],
            q,
            liars: 0,
            plans: plans.iter().enumerate().map(plan).collect(),
            reads: 0,
            forgets: 0,
            amnesia: Amnesia::Blank,
            conclusion: Conclusion::Settled,
            second: Second::OnSettled,
            confirms: true,
            promises_once: true,
            remembers_ops: true,
            yes_is_promise: false,
        }
    }

    pub(crate) fn reads(self, reads: u8) -> Self {
        Self { reads, ..self }
    }

    pub(crate) fn forgets(self, forgets: u8, amnesia: Amnesia) -> Self {
        Self { forgets, amnesia, ..self }
    }

    /// `liars` of the n members lie.
    pub(crate) fn liars(self, liars: usize) -> Self {
        let [both, old, new] = self.sides;
        Self { liars, sides: [both - liars, old, new], ..self }
    }

    /// One of the n members is replaced.
    pub(crate) fn replaces_one(self) -> Self {
        let [both, ..] = self.sides;
        Self { sides: [both - 1, 1, 1], ..self }
    }

    pub(crate) fn ballot(&self, record: Record) -> u8 {
        record.checked_sub(1).map_or(0, |attempt| self.plans[attempt as usize].ballot)
    }

    pub(crate) fn members<'a>(&self, state: &'a State) -> &'a [Member] {
        &state.members[..self.sides.iter().sum()]
    }

    /// Whether those members are a quorum of this config (section 3).
    pub(crate) fn quorum(&self, state: &State, config: Config, has: impl Fn(&Member) -> bool) -> bool {
        let of = |side: Config| {
            let members = self.members(state).iter();
            members.filter(|member| side.names(member.side) && has(member)).count() + self.liars >= self.q
        };
        match config {
            Config::Joint => of(Config::Old) && of(Config::New),
            one => of(one),
        }
    }

    /// Whether a quorum ever accepted this record.
    pub(crate) fn chosen(&self, state: &State, record: Record) -> bool {
        record.checked_sub(1).is_none_or(|attempt| state.attempts[attempt as usize].chosen)
    }

    /// Whether the votes make a record chosen.
    fn has_votes(&self, state: &State, record: Record) -> bool {
        let by = |config| self.quorum(state, config, |member| member.voted >> record & 1 == 1);
        let own = by(state.config(record));
        own && (self.second == Second::OnSettled || by(state.base_config(record)))
    }

    /// Forgets what has no consequences any more, so that states which differ in it are one.
    fn tidy(&self, state: &mut State) {
        for attempt in 0..self.plans.len() {
            let record = attempt as Record + 1;
            let sent = state.attempts[attempt].phase == Phase::Sent;
            if sent && (state.attempts[attempt].chosen || self.has_votes(state, record)) {
                state.attempts[attempt].chosen = true;
                state.members.iter_mut().for_each(|member| member.voted &= !(1 << record));
            }
            if state.attempts[attempt].phase != Phase::Preparing || self.abandoned(state, attempt) {
                state.members.iter_mut().for_each(|member| member.replied[attempt] = 0);
            }
        }
        state.members[..self.sides.iter().sum()].sort_unstable();
    }

    /// Records that were sent, the first one included.
    pub(crate) fn records(&self, state: &State) -> impl Iterator<Item = Record> {
        let sent = state.attempts.map(|attempt| attempt.phase == Phase::Sent);
        (0..=self.plans.len() as Record).filter(move |record| *record == 0 || sent[*record as usize - 1])
    }

    /// Whether the writer of an attempt has gone on to a later one.
    fn abandoned(&self, state: &State, attempt: usize) -> bool {
        let later = self.plans.iter().enumerate().skip(attempt + 1);
        let mut later = later.filter(|(_, plan)| plan.writer == self.plans[attempt].writer);
        later.any(|(at, plan)| !plan.piggybacked && begun(state, at))
    }

    /// The attempt whose prepare travels with the accept of this one.
    pub(crate) fn next_of(&self, attempt: usize) -> Option<usize> {
        let writer = self.plans[attempt].writer;
        let next = (attempt + 1..self.plans.len()).find(|at| self.plans[*at].writer == writer)?;
        self.plans[next].piggybacked.then_some(next)
    }

    /// Bases on which an attempt may build (section 5, step 2): the highest of what a quorum of its own config showed.
    fn bases(&self, state: &State, attempt: usize) -> impl Iterator<Item = Record> {
        let ballot = self.plans[attempt].ballot;
        self.records(state).filter(move |record| {
            let shows = |member: &Member| member.replied[attempt] == record + 1;
            let not_above = |member: &Member| {
                let shown = member.replied[attempt];
                shown > 0 && self.ballot(shown - 1) <= self.ballot(*record)
            };
            let shown = self.liars > 0 || self.members(state).iter().any(shows);
            self.ballot(*record) < ballot && shown && self.quorum(state, state.config(*record), not_above)
        })
    }

    /// Whether a quorum of the base's config showed just this base to the attempt.
    pub(crate) fn settled(&self, state: &State, attempt: usize, base: Record) -> bool {
        self.quorum(state, state.config(base), |member| member.replied[attempt] == base + 1)
    }

    /// Whether an attempt may report from the base that its operation is done.
    fn concludes(&self, state: &State, attempt: usize, base: Record) -> bool {
        let Kind::Append(op) = self.plans[attempt].kind else { return false };
        let known = state.value(base).contains(op);
        known && (self.conclusion == Conclusion::OnSight || self.settled(state, attempt, base))
    }

    fn prepares(&self, state: &State, actions: &mut Vec<Action>) {
        for (attempt, plan) in self.plans.iter().enumerate() {
            let idle = state.attempts[attempt].phase == Phase::Preparing && !plan.piggybacked;
            if !idle || self.abandoned(state, attempt) {
                continue;
            }
            // More promises than a quorum only keep others from being accepted.
            let enough = self.quorum(state, Config::Joint, |member| member.replied[attempt] > 0);
            for (at, member) in self.members(state).iter().enumerate().filter(|_| !enough) {
                let higher = plan.ballot > member.promise;
                let again = !self.promises_once && plan.ballot == member.promise;
                if !member.blank && (higher || again && member.replied[attempt] == 0) {
                    actions.push(Action::Promise { member: at, attempt });
                }
            }
            self.proposals(state, attempt, actions);
        }
        let piggybacked = self.plans.iter().enumerate().filter(|(_, plan)| plan.piggybacked);
        for (attempt, _) in piggybacked {
            if state.attempts[attempt].phase == Phase::Preparing && !self.abandoned(state, attempt) {
                self.proposals(state, attempt, actions);
            }
        }
    }

    fn proposals(&self, state: &State, attempt: usize, actions: &mut Vec<Action>) {
        if !begun(state, attempt) {
            return;
        }
        for base in self.bases(state, attempt) {
            if self.concludes(state, attempt, base) {
                actions.push(Action::Conclude { attempt, base });
            } else if self.may_build(state, attempt, base) {
                actions.push(Action::Propose { attempt, base });
            }
        }
    }

    /// Whether the change makes a record of this base.
    fn may_build(&self, state: &State, attempt: usize, base: Record) -> bool {
        let advance = self.plans[attempt].kind == Kind::Advance;
        match state.config(base) {
            Config::Joint if advance => self.second == Second::OnSight || self.settled(state, attempt, base),
            Config::New => !advance,
            _ => true,
        }
    }

    fn accepts(&self, state: &State, actions: &mut Vec<Action>) {
        for record in self.records(state).filter(|record| *record > 0) {
            let attempt = record as usize - 1;
            let sent_to = |side| state.config(record).names(side) || state.base_config(record).names(side);
            for (at, member) in self.members(state).iter().enumerate() {
                if member.blank || !sent_to(member.side) {
                    continue;
                }
                let waits = |next: &usize| state.attempts[*next].phase == Phase::Preparing;
                let next = self.next_of(attempt).filter(waits);
                let same = member.accepted == record;
                let clash =
                    !same && member.accepted > 0 && self.ballot(member.accepted) == self.ballot(record);
                if !same && !clash && self.ballot(record) >= member.promise {
                    actions.push(Action::Accept { member: at, attempt, with_next: false });
                    actions.extend(next.map(|_| Action::Accept { member: at, attempt, with_next: true }));
                } else if same && next.is_some_and(|next| self.promises(member, next)) {
                    actions.push(Action::Accept { member: at, attempt, with_next: true });
                }
            }
        }
    }

    /// Whether a yes from memory tells the writer that `next` is promised.
    fn promises(&self, member: &Member, next: usize) -> bool {
        let higher = self.plans[next].ballot > member.promise;
        member.replied[next] == 0 && (higher || self.yes_is_promise)
    }

    fn forgetting(&self, state: &State, actions: &mut Vec<Action>) {
        if state.forgets_left == 0 {
            return;
        }
        let new_is_chosen = || {
            self.records(state)
                .any(|record| state.config(record) == Config::New && self.chosen(state, record))
        };
        let may = |member: &Member| match self.amnesia {
            Amnesia::Forward => member.side == Side::Old && new_is_chosen(),
            Amnesia::PromiseOnly => member.promise > self.ballot(member.accepted),
            Amnesia::Blank | Amnesia::Fresh => !member.blank && (member.promise > 0 || member.accepted > 0),
        };
        let members = self.members(state).iter().enumerate();
        actions
            .extend(members.filter(|(_, member)| may(member)).map(|(at, _)| Action::Forget { member: at }));
    }

    fn answers_to_reader(&self, state: &State, actions: &mut Vec<Action>) {
        if state.reader.reads_left == 0 {
            return;
        }
        for (at, member) in self.members(state).iter().enumerate() {
            let wanted = state.reader.target.is_none_or(|target| !self.confirms || target == member.accepted);
            if !member.blank && !member.read && wanted {
                actions.push(Action::Read { member: at });
            }
        }
    }
}

/// Whether any member promised it anything.
fn begun(state: &State, attempt: usize) -> bool {
    let gone_on = state.attempts[attempt].phase != Phase::Preparing;
    gone_on || state.members.iter().any(|member| member.replied[attempt] > 0)
}

/// A step. Members are numbered as they are sorted in the state before it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Action {
    Promise { member: usize, attempt: usize },
    Propose { attempt: usize, base: Record },
    Conclude { attempt: usize, base: Record },
    Accept { member: usize, attempt: usize, with_next: bool },
    Read { member: usize },
    Forget { member: usize },
}

impl Model for Slots {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let mut members = [Member::default(); MEMBERS];
        let sides = [Side::Both, Side::Old, Side::New].into_iter().zip(self.sides);
        let sides = sides.flat_map(|(side, count)| std::iter::repeat_n(side, count));
        members.iter_mut().zip(sides).for_each(|(member, side)| member.side = side);
        let mut state = State {
            members,
            attempts: Default::default(),
            reader: Default::default(),
            forgets_left: self.forgets,
        };
        state.reader.reads_left = self.reads;
        assert!(self.plans.len() <= ATTEMPTS && self.sides.iter().sum::<usize>() <= MEMBERS);
        vec![state]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.reader.went_back {
            return;
        }
        self.prepares(state, actions);
        self.accepts(state, actions);
        self.answers_to_reader(state, actions);
        self.forgetting(state, actions);
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        self.take(&mut state, action);
        self.tidy(&mut state);
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::all()
    }
}
