//! How long a lease lasts and when it was made, in one number (`docs/spec/store.md`, "Index").

/// Set where a lease lasts while its account is alive.
const ALIVE: u64 = 1 << 63;
/// When a lease ends, at the latest: 136 years of uptime.
const ENDS_MAX: u64 = u32::MAX as u64;
/// The latest making of a dated lease that is told from later ones.
const MADE_MAX: u64 = (1 << 31) - 1;

/// A lease's value: seconds of uptime.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Term {
    /// When it was made or renewed last; 0 where that is not known.
    pub(crate) made: u64,
    /// When it ends; `None`: not while its account is alive.
    pub(crate) ends: Option<u64>,
}

impl Term {
    /// A lease made now, for so many seconds or as long as its account is alive.
    pub(crate) fn new(now: u64, duration_s: Option<u64>) -> Self {
        Self { made: now, ends: duration_s.map(|seconds| now.saturating_add(seconds).min(ENDS_MAX)) }
    }

    /// Whether it ends by itself at or before `now`.
    pub(crate) fn is_over(self, now: u64) -> bool {
        self.ends.is_some_and(|ends| ends <= now)
    }

    pub(super) fn to_value(self) -> u64 {
        match self.ends {
            None => ALIVE | self.made.min(ALIVE - 2),
            Some(ends) => self.made.min(MADE_MAX) << 32 | ends.min(ENDS_MAX),
        }
    }

    pub(super) fn of(value: u64) -> Self {
        match value {
            // Format 2 wrote this, and of dated leases only their end.
            u64::MAX => Self { made: 0, ends: None },
            value if value & ALIVE != 0 => Self { made: value & !ALIVE, ends: None },
            value => Self { made: value >> 32, ends: Some(value & ENDS_MAX) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_what_format_2_wrote_is_old() {
        for term in
            [Term::new(0, None), Term::new(7, None), Term::new(7, Some(0)), Term::new(9, Some(86_400))]
        {
            assert_eq!(Term::of(term.to_value()), term);
        }
        assert_eq!(Term::of(Term::new(5, Some(u64::MAX)).to_value()), Term { made: 5, ends: Some(ENDS_MAX) });
        assert_eq!(Term::of(u64::MAX), Term { made: 0, ends: None });
        assert_eq!(Term::of(86_400), Term { made: 0, ends: Some(86_400) });
        // An uptime beyond what there is room for makes a lease older, never younger than another.
        assert!(Term::of(Term::new(1 << 40, Some(1)).to_value()).made <= MADE_MAX);
    }
}
