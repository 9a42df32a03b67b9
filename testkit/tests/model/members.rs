//! What the steps do.

use crate::protocol::{Action, Amnesia, Kind, Slots};
use crate::state::{Attempt, Config, Member, Phase, Record, State, Value};

impl Slots {
    pub(crate) fn take(&self, state: &mut State, action: Action) {
        match action {
            Action::Promise { member, attempt } => {
                let member = &mut state.members[member];
                member.promise = self.plans[attempt].ballot;
                member.replied[attempt] = member.accepted + 1;
            }
            Action::Propose { attempt, base } => state.attempts[attempt] = self.record(state, attempt, base),
            Action::Conclude { attempt, base } => {
                let (value, config) = (state.value(base), state.config(base));
                state.attempts[attempt] =
                    Attempt { phase: Phase::Concluded, value, config, base, chosen: false };
            }
            Action::Accept { member, attempt, with_next } => {
                self.accept(&mut state.members[member], attempt, with_next);
            }
            Action::Read { member } => self.read(state, member),
            Action::Forget { member } => {
                state.forgets_left -= 1;
                self.forget(&mut state.members[member]);
            }
        }
    }

    fn record(&self, state: &State, attempt: usize, base: Record) -> Attempt {
        let (before, config) = (state.value(base), state.config(base));
        let (value, config) = match (self.plans[attempt].kind, config) {
            (Kind::Append(op), config) if self.remembers_ops && before.contains(op) => (before, config),
            (Kind::Append(op), config) => (before.with(op), config),
            (Kind::Advance, Config::Old) => (before, Config::Joint),
            (Kind::Advance, _) => (before, Config::New),
        };
        Attempt { phase: Phase::Sent, value, config, base, chosen: false }
    }

    /// Section 4. An accept that carries a prepare grants it if the ballot is above the promise, also when the record is there already.
    fn accept(&self, member: &mut Member, attempt: usize, with_next: bool) {
        let record = attempt as Record + 1;
        member.promise = member.promise.max(self.plans[attempt].ballot);
        let from_memory = member.accepted == record;
        member.accepted = record;
        member.voted |= 1 << record;
        let Some(next) = self.next_of(attempt).filter(|_| with_next) else { return };
        member.replied[next] = record + 1;
        if !(from_memory && self.yes_is_promise) {
            member.promise = member.promise.max(self.plans[next].ballot);
        }
    }

    fn forget(&self, member: &mut Member) {
        if self.amnesia == Amnesia::PromiseOnly {
            member.promise = self.ballot(member.accepted);
            return;
        }
        (member.promise, member.accepted) = (0, 0);
        member.read = false;
        member.blank = self.amnesia == Amnesia::Blank;
    }

    /// Section 6: sending the record to those that lack it is the same accept once more, which the network may do at any time.
    fn read(&self, state: &mut State, member: usize) {
        let answered = state.members[member].accepted;
        state.members[member].read = true;
        let target = match state.reader.target {
            None => {
                state.reader.floor = self.floor(state);
                answered
            }
            Some(target) if self.ballot(target) >= self.ballot(answered) => target,
            Some(_) => answered,
        };
        state.reader.target = Some(target);
        if self.quorum(state, state.config(target), |member| member.read) {
            let value = state.value(target);
            state.reader.went_back = !state.reader.floor.leads_to(value);
            state.reader.last = value;
            state.reader.reads_left -= 1;
            state.reader.target = None;
            state.reader.floor = Value::default();
            state.members.iter_mut().for_each(|member| member.read = false);
        }
    }

    /// What a read that begins now must show: what was shown, concluded or chosen. (Nothing is acknowledged before it is chosen; and it
    /// may be acknowledged at that moment.)
    fn floor(&self, state: &State) -> Value {
        let chosen = self.records(state).filter(|record| self.chosen(state, *record));
        let concluded = state.attempts.iter().filter(|attempt| attempt.phase == Phase::Concluded);
        let values = chosen.map(|record| state.value(record)).chain(concluded.map(|attempt| attempt.value));
        values.chain([state.reader.last]).max_by_key(|value| value.len()).unwrap_or_default()
    }
}
