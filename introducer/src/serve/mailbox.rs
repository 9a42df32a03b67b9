//! Mailboxes: two sides that share a code exchange three letters through us, and we can read none of them.
//!
//! A mailbox lives as long as the stream of whoever opened it. The first who uses it closes it for everybody else, whatever comes of it:
//! so a code is worth one guess.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use protocol::NodeId;
use protocol::frame::{self, FrameError};
use protocol::limits::MAX_LETTER_LEN;
use protocol::message::{Done, ErrorCode, Letter, OpenMailbox, Reply, UseMailbox, WireError};
use protocol::transport::{RecvHalf, Stream, TransportError};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::Introducer;
use super::connection::{HEADER, send};

/// All mailboxes that wait, by channel.
#[derive(Default)]
pub(super) struct Mailboxes(HashMap<u16, Waiting>);

struct Waiting {
    owner: NodeId,
    letter: Letter,
    visitor: oneshot::Sender<Visit>,
}

/// The letter of whoever came, and where the last letter goes.
struct Visit {
    letter: Letter,
    answer: oneshot::Sender<Letter>,
}

/// Takes a mailbox away when its stream is gone.
struct Open<'a> {
    introducer: &'a Introducer,
    channel: u16,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        let mut boxes = self.introducer.mailboxes();
        // Another may have the channel by now.
        if boxes.0.get(&self.channel).is_some_and(|waiting| waiting.visitor.is_closed()) {
            boxes.0.remove(&self.channel);
        }
    }
}

impl Introducer {
    fn open_mailbox(&self, owner: NodeId, open: OpenMailbox) -> Result<oneshot::Receiver<Visit>, WireError> {
        let refused = |code, message| Err(WireError::new(code, message));
        if open.letter.bytes.len() > MAX_LETTER_LEN || !(1..=LIFETIME_MAX).contains(&open.lifetime_s) {
            return refused(ErrorCode::BadRequest, "the letter is too long, or would lie too long");
        }
        if !self.is_served(&owner) {
            return refused(ErrorCode::NotAdmitted, "this introducer is for other grids");
        }
        let mut boxes = self.mailboxes();
        boxes.0.retain(|_, waiting| !waiting.visitor.is_closed());
        let own = boxes.0.values().filter(|waiting| waiting.owner == owner).count();
        if boxes.0.len() >= MAILBOXES || own >= MAILBOXES_OF_ONE {
            return refused(ErrorCode::Busy, "too many invitations are open here");
        }
        if boxes.0.contains_key(&open.channel) {
            return refused(ErrorCode::Busy, "the channel is taken");
        }
        let (visitor, visits) = oneshot::channel();
        boxes.0.insert(open.channel, Waiting { owner, letter: open.letter, visitor });
        Ok(visits)
    }

    /// The letter that lies there: whoever asks again gets nothing.
    fn take_mailbox(&self, ask: UseMailbox) -> Result<Waiting, WireError> {
        let found = self.mailboxes().0.remove(&ask.channel).filter(|waiting| !waiting.visitor.is_closed());
        found.ok_or_else(|| {
            WireError::new(
                ErrorCode::NoInvitation,
                "nobody waits on this channel: the invitation was used, tried, withdrawn, or is over",
            )
        })
    }
}

/// The side that opened it: waits for the other one, and passes the letters.
pub(super) async fn wait(
    introducer: Arc<Introducer>,
    owner: NodeId,
    open: OpenMailbox,
    stream: &mut Stream,
) -> Result<(), TransportError> {
    let (channel, lifetime) = (open.channel, Duration::from_secs(open.lifetime_s));
    let visits = match introducer.open_mailbox(owner, open) {
        Ok(visits) => visits,
        Err(error) => return refuse(stream, error).await,
    };
    send(stream, &Reply::Ok(Done {})).await?;
    // Dropped after `visits`, by which the mailbox knows that nobody waits any more.
    let _open = Open { introducer: &introducer, channel };
    let visits = visits;
    let answered = {
        let Stream { send: out, recv } = stream;
        let mut last = pin!(read(&mut **recv));
        let visit = tokio::select! {
            visit = timeout(lifetime, visits) => visit,
            // The last letter before the second: or, far more often, the other side hangs up.
            _ = &mut last => return Ok(()),
        };
        match visit {
            Err(_) => Err(WireError::new(ErrorCode::NoInvitation, "nobody came in time")),
            Ok(Err(_)) => Err(WireError::new(ErrorCode::NoInvitation, "somebody tried the code and gave up")),
            Ok(Ok(Visit { letter, answer })) => {
                let reply = Reply::Ok(letter);
                let sending = frame::send(&mut **out, &reply);
                timeout(STEP, sending).await.unwrap_or(Err(TransportError::Stopped))?;
                match timeout(STEP, last).await {
                    Ok(Ok(letter)) => Ok(answer.send(letter)),
                    _ => return Ok(()),
                }
            }
        }
    };
    match answered {
        Ok(_) => {
            send(stream, &Reply::Ok(Done {})).await?;
            stream.send.finish()
        }
        Err(error) => refuse(stream, error).await,
    }
}

/// The side that comes with a code.
pub(super) async fn visit(
    introducer: Arc<Introducer>,
    ask: UseMailbox,
    stream: &mut Stream,
) -> Result<(), TransportError> {
    let Waiting { letter, visitor, .. } = match introducer.take_mailbox(ask) {
        Ok(waiting) => waiting,
        Err(error) => return refuse(stream, error).await,
    };
    send(stream, &Reply::Ok(letter)).await?;
    let Ok(Ok(letter)) = timeout(STEP, read(&mut *stream.recv)).await else { return Ok(()) };
    let (answer, answered) = oneshot::channel();
    let given_up = || WireError::new(ErrorCode::NoInvitation, "the other side did not answer");
    if visitor.send(Visit { letter, answer }).is_err() {
        return refuse(stream, given_up()).await;
    }
    match timeout(STEP, answered).await {
        Ok(Ok(letter)) => {
            send(stream, &Reply::Ok(letter)).await?;
            stream.send.finish()
        }
        _ => refuse(stream, given_up()).await,
    }
}

async fn read(recv: &mut dyn RecvHalf) -> Result<Letter, FrameError> {
    let letter: Letter = frame::receive(recv).await?;
    match letter.bytes.len() <= MAX_LETTER_LEN {
        true => Ok(letter),
        false => Err(FrameError::Malformed { reason: "the letter is too long".into() }),
    }
}

async fn refuse(stream: &mut Stream, error: WireError) -> Result<(), TransportError> {
    send(stream, &Reply::<Letter>::Err(error)).await?;
    stream.send.finish()
}

/// Mailboxes at once.
const MAILBOXES: usize = 256;
/// Mailboxes of one owner at once.
const MAILBOXES_OF_ONE: usize = 32;
/// The longest life of a mailbox, in seconds.
const LIFETIME_MAX: u64 = 7 * 24 * 3600;
/// How long each side has for its next letter.
const STEP: Duration = Duration::from_secs(3 * HEADER.as_secs());
