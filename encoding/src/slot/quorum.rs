//! The members of a slot, and what counts as a quorum of them.

use std::collections::BTreeSet;

use minicbor::decode::{Decoder, Error};
use minicbor::encode::{self, Encoder, Write};
use minicbor::{Decode, Encode};

/// The most members one record names on one side.
pub const MAX_MEMBERS: usize = 256;

/// A store, as it was when it was named.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Encode, Decode)]
pub struct Member {
    /// The store's public key.
    #[n(0)]
    #[cbor(with = "minicbor::bytes")]
    pub store: [u8; 32],
    /// Its incarnation: one that lost its index has a new one, and no longer counts.
    #[n(1)]
    pub incarnation: u64,
}

/// Members and quorum.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Config {
    /// The stores, each once.
    #[n(0)]
    #[cbor(with = "members")]
    pub members: Vec<Member>,
    /// So many of them make a quorum: of prepare, accept and confirmed read alike.
    #[n(1)]
    pub quorum: u16,
}

/// Why members and quorum are not those of any slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{members} members with a quorum of {quorum}, or one named twice, cannot agree on anything")]
pub struct ConfigError {
    /// How many members.
    pub members: usize,
    /// The quorum.
    pub quorum: u16,
}

/// The quorum a creator takes for n members: the larger of `happy` (at most n) and two thirds; up to three members, a majority.
pub fn usual_quorum(members: usize, happy: usize) -> u16 {
    let two_thirds = (2 * members + 1).div_ceil(3);
    let quorum = if members <= 3 { members / 2 + 1 } else { two_thirds.max(happy.min(members)) };
    quorum as u16
}

impl Config {
    /// Checks that there are 1 to [`MAX_MEMBERS`] members, each named once, and that any two quorums meet.
    ///
    /// # Errors
    ///
    /// [`ConfigError`].
    pub fn check(&self) -> Result<(), ConfigError> {
        let count = self.members.len();
        let distinct: BTreeSet<[u8; 32]> = self.members.iter().map(|member| member.store).collect();
        let quorum = usize::from(self.quorum);
        let sound = (1..=MAX_MEMBERS).contains(&count) && distinct.len() == count;
        if sound && quorum <= count && 2 * quorum > count {
            return Ok(());
        }
        Err(ConfigError { members: count, quorum: self.quorum })
    }

    /// Whether the store is named with this incarnation.
    pub fn counts(&self, member: &Member) -> bool {
        self.members.contains(member)
    }

    /// Whether the store is named with any incarnation.
    pub fn names(&self, store: &[u8; 32]) -> bool {
        self.members.iter().any(|member| member.store == *store)
    }

    /// Whether those for which `yes` holds are a quorum.
    pub fn is_quorum(&self, yes: impl Fn(&Member) -> bool) -> bool {
        self.members.iter().filter(|member| yes(member)).count() >= usize::from(self.quorum)
    }

    /// What `genesis` is the hash of: count, members, quorum.
    pub(crate) fn genesis(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_derive_key("sarsen v1 slot genesis");
        hasher.update(&(self.members.len() as u16).to_le_bytes());
        for member in &self.members {
            hasher.update(&member.store).update(&member.incarnation.to_le_bytes());
        }
        *hasher.update(&self.quorum.to_le_bytes()).finalize().as_bytes()
    }
}

/// A list of members, bounded before anything is allocated for it.
mod members {
    use super::{Decoder, Encoder, Error, MAX_MEMBERS, Member, Write, encode};

    pub(super) fn encode<C, W: Write>(
        list: &[Member],
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        e.array(list.len() as u64)?;
        list.iter().try_for_each(|member| e.encode(member).map(drop))
    }

    pub(super) fn decode<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<Vec<Member>, Error> {
        let count = d.array()?.ok_or_else(|| Error::message("a list must state its length"))?;
        if count > MAX_MEMBERS as u64 {
            return Err(Error::message("more members than a slot may have"));
        }
        let mut list = Vec::new();
        for _ in 0..count {
            list.push(d.decode()?);
        }
        Ok(list)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_two_usual_quorums_meet_and_ten_survive_three_liars() {
        for members in 1..=MAX_MEMBERS {
            for happy in [1, 7, members] {
                let quorum = usize::from(usual_quorum(members, happy));
                assert!(quorum <= members && 2 * quorum > members, "{quorum} of {members}");
            }
        }
        // 2q - n - 1 may lie or forget.
        assert_eq!(usual_quorum(10, 7), 7);
        let member = |store| Member { store: [store; 32], incarnation: 1 };
        let ten = Config { members: (0..10).map(member).collect(), quorum: 7 };
        assert_eq!(ten.check(), Ok(()));
        let twice = Config { members: vec![member(1), member(1)], quorum: 2 };
        assert!(twice.check().is_err());
        assert!(Config { members: vec![member(1), member(2)], quorum: 1 }.check().is_err());
    }
}
