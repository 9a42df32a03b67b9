//! A storage server that lies: it stands in front of a true one, with its key and at its address, and answers as a script says.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use minicbor::{Decode, Encode};
use protocol::message::{Bulk, Found, Reply, Request};
use protocol::session::{Session, our_hello};
use protocol::slot_message::{SlotAnswer, SlotState};
use protocol::transport::{Connector, Incoming, Listener, RecvHalf, SendHalf, Stream};
use protocol::{NodeId, frame};
use tokio::io::AsyncReadExt;

use crate::grid::SimGrid;

/// Changes an answer.
pub type Change<T> = Arc<dyn Fn(&mut T) + Send + Sync>;

/// What a liar does with a request.
#[derive(Clone)]
pub enum Lie {
    /// What the true server would do.
    Truth,
    /// Takes the request and says nothing, for ever.
    Silence,
    /// Gives up the stream.
    Reset,
    /// Closes the connection.
    Close,
    /// Says this and no more.
    Say(Bytes),
    /// Says this, and then neither says nor reads anything, for ever.
    Hold(Bytes),
    /// Passes on the true server's answer to another question.
    Ask(Request),
    /// Changes what it found.
    Found(fn(&mut Found)),
    /// Changes the lengths of what follows.
    Bulk(fn(&mut Bulk)),
    /// Changes what it says that it holds of a slot.
    State(Change<SlotState>),
    /// Changes what it says to a prepare or an accept of a slot.
    Moved(Change<SlotAnswer>),
    /// Changes the bytes that follow the first message of the answer; the number is the offset of the first of them.
    Body(fn(u64, &mut [u8])),
    /// Says nothing more after so many bytes of what follows the first message.
    SilenceAfter(u64),
    /// Closes the connection after so many bytes of what follows the first message.
    CloseAfter(u64),
}

impl Lie {
    /// Says this message and no more.
    pub fn message<T: Encode<()>>(message: &T) -> Self {
        Self::Say(frame::encode(message))
    }
}

/// Decides what to do with a request.
pub type Script = Arc<dyn Fn(&Request) -> Lie + Send + Sync>;

/// Makes server `index` of the grid, which must be up, a liar until it is restarted.
///
/// # Panics
///
/// If the server is down.
pub fn corrupt(grid: &SimGrid, index: usize, script: impl Fn(&Request) -> Lie + Send + Sync + 'static) {
    let server = &grid.servers[index];
    let (id, behind) = (server.key.id(), format!("{} behind", server.address));
    let truth = server.server().expect("a liar needs a true server behind it").clone();
    let liar = Arc::new(Liar {
        id,
        behind: behind.clone(),
        connector: grid.net.connector(id),
        script: Arc::new(script),
    });
    // The order matters: the true server's first listener ends when the liar takes its address.
    let front = grid.net.listener(id, &server.address);
    tokio::spawn(truth.serve(grid.net.listener(id, &behind)));
    tokio::spawn(liar.serve(front));
}

struct Liar {
    id: NodeId,
    /// Where the true server listens.
    behind: String,
    connector: Arc<dyn Connector>,
    script: Script,
}

impl Liar {
    async fn serve(self: Arc<Self>, listener: Arc<dyn Listener>) {
        while let Some(handshake) = listener.accept().await {
            let liar = self.clone();
            tokio::spawn(async move {
                if let Some(incoming) = handshake.await {
                    liar.connection(incoming.into()).await;
                }
            });
        }
    }

    async fn connection(self: Arc<Self>, incoming: Arc<dyn Incoming>) {
        while let Some(stream) = incoming.accept_stream().await {
            let (liar, incoming) = (self.clone(), incoming.clone());
            tokio::spawn(async move { liar.answer(&*incoming, stream).await });
        }
    }

    /// `None` where either side is gone.
    async fn answer(&self, incoming: &dyn Incoming, mut stream: Stream) -> Option<()> {
        let request: Request = frame::receive(&mut *stream.recv).await.ok()?;
        match (self.script)(&request) {
            Lie::Silence => std::future::pending().await,
            Lie::Reset => {}
            Lie::Close => incoming.close(),
            Lie::Hold(bytes) => {
                stream.send.send(bytes).await.ok()?;
                std::future::pending().await
            }
            Lie::Say(bytes) => say(&mut *stream.send, bytes).await?,
            Lie::Truth if matches!(request, Request::Hello(_)) => {
                say(&mut *stream.send, frame::encode(&Reply::Ok(our_hello()))).await?;
            }
            Lie::Ask(other) => self.pass_on(incoming, stream, &other, &Lie::Truth).await?,
            lie => self.pass_on(incoming, stream, &request, &lie).await?,
        }
        Some(())
    }

    /// Has the true server answer `request`, and passes the answer on, changed.
    async fn pass_on(
        &self,
        incoming: &dyn Incoming,
        stream: Stream,
        request: &Request,
        lie: &Lie,
    ) -> Option<()> {
        let connection = self.connector.connect(self.id, std::slice::from_ref(&self.behind)).await.ok()?;
        let session = Session::start(connection).await.ok()?;
        let Stream { send: mut to_truth, recv: mut truth } = session.open(request).await.ok()?;
        let Stream { mut send, recv: mut from_client } = stream;
        let body = async {
            let mut buffer = BytesMut::new();
            while next(&mut *from_client, &mut buffer).await? {
                to_truth.send(buffer.split().freeze()).await.ok()?;
            }
            to_truth.finish().ok()
        };
        let answer = async {
            match lie {
                Lie::Found(change) => edited::<Found>(&mut *truth, &mut *send, change).await?,
                Lie::Bulk(change) => edited::<Bulk>(&mut *truth, &mut *send, change).await?,
                Lie::State(change) => edited(&mut *truth, &mut *send, &**change).await?,
                Lie::Moved(change) => edited(&mut *truth, &mut *send, &**change).await?,
                _ => {
                    let head = raw_frame(&mut *truth).await?;
                    send.send(head).await.ok()?;
                }
            }
            let (mut buffer, mut at) = (BytesMut::new(), 0);
            while next(&mut *truth, &mut buffer).await? {
                let mut piece = buffer.split();
                match lie {
                    Lie::Body(change) => change(at, &mut piece),
                    Lie::SilenceAfter(end) => piece.truncate(end.saturating_sub(at) as usize),
                    Lie::CloseAfter(end) if *end < at + piece.len() as u64 => {
                        incoming.close();
                        return None;
                    }
                    _ => {}
                }
                at += piece.len() as u64;
                if piece.is_empty() {
                    std::future::pending().await
                }
                send.send(piece.freeze()).await.ok()?;
            }
            send.finish().ok()
        };
        let (answered, _) = tokio::join!(answer, body);
        answered
    }
}

async fn say(send: &mut dyn SendHalf, bytes: Bytes) -> Option<()> {
    send.send(bytes).await.ok()?;
    send.finish().ok()
}

/// Reads what is there; says whether there was anything before the end.
async fn next(recv: &mut dyn RecvHalf, buffer: &mut BytesMut) -> Option<bool> {
    buffer.reserve(64 * 1024);
    Some(recv.read_buf(buffer).await.ok()? > 0)
}

/// A message as it stands on the wire.
async fn raw_frame(recv: &mut dyn RecvHalf) -> Option<Bytes> {
    let mut bytes = BytesMut::new();
    let filled = recv.fill(&mut bytes, 4).await.ok()?;
    let len = bytes.first_chunk().map(|head| u32::from_le_bytes(*head))?;
    let whole = filled && recv.fill(&mut bytes, 4 + len as usize).await.ok()?;
    whole.then(|| bytes.freeze())
}

async fn edited<T: Encode<()> + for<'b> Decode<'b, ()>>(
    truth: &mut dyn RecvHalf,
    send: &mut dyn SendHalf,
    change: &(dyn Fn(&mut T) + Sync),
) -> Option<()> {
    let mut answer: Reply<T> = frame::receive(truth).await.ok()?;
    if let Reply::Ok(message) = &mut answer {
        change(message);
    }
    send.send(frame::encode(&answer)).await.ok()
}
