//! An invitation from both ends, over an introducer that carries the letters.

use std::time::Duration;

use protocol::invitation::{Code, Inviter, JoinAnswer, JoinRequest, Joiner, Welcome, WrongCode};
use protocol::membership::Certificate;
use protocol::message::{Done, ErrorCode, Letter, OpenMailbox, Request, UseMailbox};
use protocol::session::{RequestError, Session, read_reply};
use protocol::transport::Stream;
use protocol::{NodeAddress, NodeId, Random, frame};

use crate::servers::within;

/// How long each step may take once both sides are there.
const STEP: Duration = Duration::from_secs(40);

/// Why an invitation came to nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InviteError {
    /// Nothing was tried: the introducer could not be reached, went away, or has no room.
    #[error("the introducer does not keep the invitation")]
    Unreachable(#[source] RequestError),
    /// The channel is taken: another code may do.
    #[error("the introducer is busy")]
    Busy(#[source] RequestError),
    /// Nobody came in time.
    #[error("nobody used the invitation in time")]
    Unused,
    /// Somebody came with another code, or changed what was sent.
    #[error("somebody tried the invitation with a wrong code")]
    Wrong(#[source] WrongCode),
    /// Somebody came and gave up half-way.
    #[error("somebody tried the invitation and gave up")]
    Broken(#[source] RequestError),
}

impl InviteError {
    /// Whether the code may be offered once more, since nobody tried it.
    pub fn is_untried(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::Busy(_))
    }
}

/// What came of an invitation that was used with the right code.
#[derive(Debug)]
pub struct Answered<T> {
    /// What `decide` made of the request.
    pub decided: T,
    /// Whether the other side is known to have the answer.
    pub delivered: bool,
}

/// Offers an invitation at an introducer and waits until it is used, for at most `lifetime`. `opened` is called once it may be used; `decide`
/// gets the request of whoever knows the code, and says what to answer. `session` is one of the owner's key.
///
/// # Errors
///
/// [`InviteError`]; once it [was tried](InviteError::is_untried), the code must never be offered again.
pub async fn await_guest<T>(
    session: &Session,
    code: &Code,
    lifetime: Duration,
    random: &dyn Random,
    opened: impl FnOnce(),
    decide: impl FnOnce(JoinRequest) -> (JoinAnswer, T),
) -> Result<Answered<T>, InviteError> {
    let (inviter, letter) = Inviter::start(code, random);
    let open = OpenMailbox {
        channel: code.channel(),
        lifetime_s: lifetime.as_secs().max(1),
        letter: Letter { bytes: letter },
    };
    let opening = async {
        let mut stream = session.open(&Request::OpenMailbox(open)).await?;
        read_reply::<Done>(&mut stream).await?;
        Ok::<_, RequestError>(stream)
    };
    let mut stream = within(STEP, opening).await.map_err(|error| match &error {
        RequestError::Refused(refusal) if refusal.code == ErrorCode::Busy => InviteError::Busy(error),
        _ => InviteError::Unreachable(error),
    })?;
    opened();
    let waited = tokio::time::timeout(lifetime + STEP, read_reply::<Letter>(&mut stream)).await;
    let letter = match waited {
        Ok(Ok(letter)) => letter,
        Ok(Err(error @ RequestError::Refused(_))) => {
            let unused =
                matches!(&error, RequestError::Refused(refusal) if refusal.message.contains("nobody came"));
            return Err(if unused { InviteError::Unused } else { InviteError::Broken(error) });
        }
        Ok(Err(error)) => return Err(InviteError::Unreachable(error)),
        Err(_) => return Err(InviteError::Unused),
    };
    let (invited, request) = match inviter.read(&letter.bytes) {
        Ok(read) => read,
        Err(wrong) => {
            // An empty letter says no more than that; it is waited for until it was passed on, or our end would swallow it.
            let telling = async {
                send(&mut stream, Vec::new()).await?;
                read_reply::<Done>(&mut stream).await
            };
            let _ = within(STEP, telling).await;
            return Err(InviteError::Wrong(wrong));
        }
    };
    let (answer, decided) = decide(request);
    let letter = invited.answer(&answer);
    let delivering = async {
        send(&mut stream, letter).await?;
        read_reply::<Done>(&mut stream).await
    };
    let delivered = within(STEP, delivering).await.is_ok();
    Ok(Answered { decided, delivered })
}

async fn send(stream: &mut Stream, bytes: Vec<u8>) -> Result<(), RequestError> {
    frame::send(&mut *stream.send, &Letter { bytes }).await?;
    stream.send.finish()?;
    Ok(())
}

/// Why nobody was let in.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// The introducer or the owner did not answer.
    #[error("the invitation cannot be used")]
    Request(#[from] RequestError),
    /// Nobody waits with such an invitation.
    #[error("no such invitation: it was used, tried, withdrawn, or is over")]
    NoInvitation,
    /// The code is wrong, or somebody is in between.
    #[error(transparent)]
    Wrong(#[from] WrongCode),
    /// The owner knows the code is right, and says no.
    #[error("the grid's owner refuses: {reason}")]
    Refused {
        /// Why.
        reason: String,
    },
    /// The introducer that carried the letters is none of the grid's.
    #[error(
        "whoever answers at {host} has not the key of one of the grid's introducers: somebody is in between"
    )]
    Introducer {
        /// Where it was looked for.
        host: String,
    },
    /// What the owner sent makes no sense.
    #[error("the owner's answer makes no sense: {what}")]
    Nonsense {
        /// What about it.
        what: &'static str,
    },
}

/// What whoever joined has to keep.
#[derive(Clone, Debug)]
pub struct Joined {
    /// All that the owner said.
    pub welcome: Welcome,
    /// The certificate in it, opened.
    pub certificate: Certificate,
    /// The grid's introducers, with their keys.
    pub introducers: Vec<NodeAddress>,
}

/// Uses an invitation. `session` is one with the introducer at `host`, which proved to have the key `introducer`; the key it should have
/// comes from the owner, under the code.
///
/// # Errors
///
/// [`JoinError`]. The invitation is burned whatever comes of it, unless the introducer could not be reached.
pub async fn join(
    session: &Session,
    introducer: NodeId,
    host: &str,
    code: &Code,
    request: &JoinRequest,
    random: &dyn Random,
) -> Result<Joined, JoinError> {
    let exchange = async {
        let ask = Request::UseMailbox(UseMailbox { channel: code.channel() });
        let mut stream = session.open(&ask).await?;
        let letter: Letter = read_reply(&mut stream).await.map_err(no_invitation)?;
        let (joiner, ours) = Joiner::start(code, &letter.bytes, request, random)?;
        send(&mut stream, ours).await?;
        let last: Letter = read_reply(&mut stream).await?;
        Ok::<_, JoinError>(joiner.read(&last.bytes)?)
    };
    let timeout = JoinError::Request(RequestError::Timeout { after: STEP * 2 });
    let welcome = match tokio::time::timeout(STEP * 2, exchange).await.unwrap_or(Err(timeout))? {
        JoinAnswer::Welcome(welcome) => welcome,
        JoinAnswer::Refused(reason) => return Err(JoinError::Refused { reason }),
    };
    let introducers = welcome.addresses();
    if !introducers.iter().any(|address| address.id == introducer) {
        return Err(JoinError::Introducer { host: host.to_owned() });
    }
    let nonsense = |what| JoinError::Nonsense { what };
    let certificate = welcome.certificate.open().map_err(|_| nonsense("its certificate cannot be one"))?;
    if (certificate.grid, certificate.member, certificate.role)
        != (welcome.owner, request.member, request.role)
    {
        return Err(nonsense("its certificate is for somebody else"));
    }
    Ok(Joined { certificate, introducers, welcome })
}

fn no_invitation(error: RequestError) -> JoinError {
    match error {
        RequestError::Refused(refusal) if refusal.code == ErrorCode::NoInvitation => JoinError::NoInvitation,
        error => JoinError::Request(error),
    }
}
