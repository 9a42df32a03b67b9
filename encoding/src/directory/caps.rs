//! Which caps an entry gets from those that a user gives, by Tahoe's rules.

use caps::{Authority, Cap, Prefix, Unknown};

use super::Mutability;
use super::error::EntryError;

/// The two caps of an entry: the one all readers see, and the one to be sealed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChildCaps {
    /// The read cap. An unknown one alleges a limit.
    pub read: Cap,
    /// The write cap, where there is one.
    pub write: Option<Cap>,
}

impl ChildCaps {
    /// From a cap given as writing and one given as reading. Where the first is of a known kind, the second follows from it. A read
    /// cap may stand in the first place. An unknown read cap that alleges no limit gets the prefix of the directory that will hold it.
    ///
    /// # Errors
    ///
    /// [`EntryError`]: no cap; a write cap given as reading; a cap that reads nothing; in an immutable directory anything that may
    /// change; an unknown write cap without an unknown read cap beside it.
    pub fn new(write: Option<Cap>, read: Option<Cap>, mutability: Mutability) -> Result<Self, EntryError> {
        let (write, read) = match (write, read) {
            // It alleges that it does not write.
            (Some(Cap::Unknown(cap)), None) if cap.prefix.is_some() => (None, Some(Cap::Unknown(cap))),
            other => other,
        };
        let caps = match (write, read) {
            (None, None) => return Err(EntryError::NoCap),
            (None, Some(read)) => Self { read: limited(read, mutability), write: None },
            (Some(Cap::Unknown(write)), Some(Cap::Unknown(read))) if write.prefix.is_none() => {
                if mutability == Mutability::Immutable {
                    return Err(EntryError::NotDeepImmutable { kind: "unknown" });
                }
                let immutable = read.prefix == Some(Prefix::Immutable);
                let write = (!immutable).then_some(Cap::Unknown(write));
                Self { read: limited(Cap::Unknown(read), mutability), write }
            }
            (Some(Cap::Unknown(_)), _) => return Err(EntryError::UnknownWrite),
            (Some(write), _) => {
                let authority = write.authority();
                let read = write.read().ok_or(EntryError::CannotRead { authority })?;
                Self { read, write: (authority == Authority::Write).then_some(write) }
            }
        };
        check_read(&caps.read, mutability)?;
        Ok(caps)
    }
}

fn limited(cap: Cap, mutability: Mutability) -> Cap {
    match cap {
        Cap::Unknown(cap) if cap.prefix.is_none() => {
            let prefix =
                if mutability == Mutability::Immutable { Prefix::Immutable } else { Prefix::ReadOnly };
            Cap::Unknown(Unknown { text: cap.text.clone(), prefix: Some(prefix) })
        }
        other => other,
    }
}

/// Whether this may stand where all readers see it, in a directory of this mutability.
pub(super) fn check_read(cap: &Cap, mutability: Mutability) -> Result<(), EntryError> {
    let not_deep = EntryError::NotDeepImmutable { kind: cap.kind() };
    let immutable = mutability == Mutability::Immutable;
    match (cap, cap.authority()) {
        (Cap::Unknown(cap), _) => match cap.prefix {
            None => Err(EntryError::NoLimit),
            Some(Prefix::ReadOnly) if immutable => Err(not_deep),
            Some(_) => Ok(()),
        },
        (_, Authority::Write) => Err(EntryError::TooMuchAuthority),
        (_, Authority::Read) if immutable && cap.is_mutable() => Err(not_deep),
        (_, Authority::Read) => Ok(()),
        (_, authority) => Err(EntryError::CannotRead { authority }),
    }
}
