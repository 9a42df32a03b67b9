//! Who is answered what. One line for each request; what no line grants is refused.

use protocol::membership::NotAMember;
use protocol::message::{ErrorCode, Request};
use protocol::slot_message::Verdict;

/// What a cap lets its holder do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Authority {
    None,
    Verify,
    Repair,
    Read,
    Write,
}

/// Who asks: the account whose leases they are, another member, or nobody that the grid's owner knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Account {
    Owner,
    Other,
    Outsider,
}

/// What comes of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Cell {
    /// It is done, or told.
    Yes,
    /// It is answered, and there is nothing to tell or to do.
    Nothing,
    /// It is answered with a verdict that is not yes.
    Not(Verdict),
    /// It is refused.
    No(ErrorCode),
}

macro_rules! rows {
    ($($row:ident),* $(,)?) => {
        /// Every request, and those that can be made in several ways once for each.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub(super) enum Row { $($row),* }
        pub(super) const ROWS: &[Row] = &[$(Row::$row),*];
    };
}

// In the order in which they are asked: what is let go, before what is leased.
rows! {
    Hello, Status, Usage, HasLengths, Lookup, Census, ReadBlocks, ReadTable, ReadSlice, Sample,
    CancelLease, Leases, Lease, Put, PutSmall,
    SlotRead, SlotReads, SlotPrepare, SlotReplay, SlotAccept, SlotAcceptLeased,
    SlotMake, SlotMakeLeased,
    Announce, AnnounceAnother, Subscribe, Publish, PublishForged, Membership, OpenMailbox, UseMailbox,
}

impl Row {
    /// The line of a request. A new request has none: it does not compile until it has.
    pub(super) fn of(request: &Request) -> Self {
        match request {
            Request::Hello(_) => Self::Hello,
            Request::Status => Self::Status,
            Request::HasLengths(_) => Self::HasLengths,
            Request::Put(_) => Self::Put,
            Request::Lookup(_) => Self::Lookup,
            Request::ReadBlocks(_) => Self::ReadBlocks,
            Request::ReadTable(_) => Self::ReadTable,
            Request::ReadSlice(_) => Self::ReadSlice,
            Request::Lease(_) => Self::Lease,
            Request::CancelLease(_) => Self::CancelLease,
            Request::Announce(_) => Self::Announce,
            Request::Subscribe(_) => Self::Subscribe,
            Request::SlotRead(_) => Self::SlotRead,
            Request::SlotReads(_) => Self::SlotReads,
            Request::SlotPrepare(_) => Self::SlotPrepare,
            Request::SlotAccept(_) => Self::SlotAccept,
            Request::PutSmall(_) => Self::PutSmall,
            Request::Census(_) => Self::Census,
            Request::Usage => Self::Usage,
            Request::Sample(_) => Self::Sample,
            Request::Leases(_) => Self::Leases,
            Request::Publish(_) => Self::Publish,
            Request::Membership(_) => Self::Membership,
            Request::OpenMailbox(_) => Self::OpenMailbox,
            Request::UseMailbox(_) => Self::UseMailbox,
        }
    }

    /// The line of the request that this one is a way to make.
    pub(super) fn plain(self) -> Self {
        match self {
            Self::SlotReplay | Self::SlotAcceptLeased | Self::SlotMake | Self::SlotMakeLeased => {
                Self::SlotAccept
            }
            Self::AnnounceAnother => Self::Announce,
            Self::PublishForged => Self::Publish,
            row => row,
        }
    }
}

/// Whose account a line is for.
enum For {
    Anybody,
    /// Whoever may store here. Others are refused by name.
    Members,
    /// Others hear of nothing.
    Owner,
    /// Both.
    OwnerAsMember,
}

/// What a storage server says, `closed` if only members may store.
pub(super) fn at_a_server(row: Row, authority: Authority, account: Account, closed: bool) -> Cell {
    use Cell::{No, Not, Nothing, Yes};
    use ErrorCode::{BadSignature, Corrupt, NotAdmitted, NotFound, Unsupported};
    use For::{Anybody, Members, Owner, OwnerAsMember};
    // For whom; who knows no H; who holds a verify, repair or read cap; who holds the write cap.
    let (whose, none, hash, write) = match row {
        Row::Hello | Row::Status | Row::Usage => (Anybody, Yes, Yes, Yes),
        Row::HasLengths | Row::Lookup | Row::Census => (Anybody, Nothing, Yes, Yes),
        Row::ReadBlocks | Row::ReadTable | Row::ReadSlice | Row::Sample => (Anybody, No(NotFound), Yes, Yes),
        Row::CancelLease => (OwnerAsMember, Nothing, Yes, Yes),
        Row::Leases => (Owner, Nothing, Yes, Yes),
        Row::Lease => (Members, Nothing, Yes, Yes),
        Row::Put | Row::PutSmall => (Members, Yes, Yes, Yes),
        Row::SlotRead | Row::SlotReads => (Anybody, Nothing, Yes, Yes),
        Row::SlotPrepare => (Anybody, Not(Verdict::Unknown), No(BadSignature), Yes),
        // What the store has already is nothing new to it.
        Row::SlotReplay => (Anybody, No(Corrupt), Yes, Yes),
        Row::SlotAccept => (Anybody, No(Corrupt), No(BadSignature), Yes),
        Row::SlotAcceptLeased => (Members, No(Corrupt), No(BadSignature), Yes),
        // One of one's own. Who may not store may not have a slot kept either.
        Row::SlotMake => (Anybody, No(NotAdmitted), No(NotAdmitted), No(NotAdmitted)),
        Row::SlotMakeLeased => (Members, Yes, Yes, Yes),
        Row::Announce
        | Row::AnnounceAnother
        | Row::Subscribe
        | Row::Publish
        | Row::PublishForged
        | Row::Membership
        | Row::OpenMailbox
        | Row::UseMailbox => {
            let refused = No(Unsupported);
            (Anybody, refused, refused, refused)
        }
    };
    let cell = match authority {
        Authority::None => none,
        Authority::Verify | Authority::Repair | Authority::Read => hash,
        Authority::Write => write,
    };
    match (whose, account) {
        (Members | OwnerAsMember, Account::Outsider) if closed => {
            No(ErrorCode::NotAMember(NotAMember::NoCertificate))
        }
        (Owner | OwnerAsMember, Account::Other | Account::Outsider) => Nothing,
        _ => cell,
    }
}

/// What an introducer says. Caps mean nothing to it.
pub(super) fn at_an_introducer(row: Row, account: Account) -> Cell {
    use Cell::{No, Nothing, Yes};
    use ErrorCode::{BadAnnouncement, BadRequest, NoInvitation, NotAdmitted, Unsupported};
    match (row, account) {
        (Row::Hello | Row::Announce | Row::Subscribe | Row::OpenMailbox, _) => Yes,
        (Row::Membership, Account::Owner | Account::Other) => Yes,
        (Row::Membership, Account::Outsider) => Nothing,
        (Row::AnnounceAnother, _) => No(BadAnnouncement),
        // Only a grid's owner brings its papers, and none of these is that.
        (Row::Publish, _) => No(NotAdmitted),
        (Row::PublishForged, _) => No(BadRequest),
        (Row::UseMailbox, _) => No(NoInvitation),
        _ => No(Unsupported),
    }
}
