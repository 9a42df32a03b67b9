//! How nodes speak: identities, messages, framing, limits, and the transports they travel on.
//!
//! `docs/spec/wire.md` is the authority on the bytes. Layers, from the bottom:
//!
//! - [`transport`]: connections between two keys, each carrying many streams. [`quic`] is the real one; tests bring others.
//! - [`frame`]: length-prefixed CBOR messages on a stream, then raw bytes where there is bulk.
//! - [`message`]: what is asked and answered. One request per stream.
//! - [`slot_message`]: the same about slots.
//! - [`session`]: a connection after its hello, as a client sees it.
//! - [`announcement`]: what a server says of itself, signed.
//! - [`membership`]: who belongs to a grid, signed by its owner; [`invitation`]: how somebody comes to belong, with a short code.
//!
//! Deliberately absent: what servers and clients do with the messages, and any trust in a size that was read off the wire.

pub mod announcement;
pub mod announcer;
mod bounded;
pub mod clock;
pub mod frame;
pub mod identity;
pub mod invitation;
pub mod limits;
pub mod membership;
pub mod message;
pub mod placement;
pub mod pool;
pub mod quic;
pub mod random;
pub mod session;
pub mod slot_message;
pub mod transport;

pub use clock::{Clock, SystemClock};
pub use identity::{NodeAddress, NodeId, NodeKey};
pub use pool::{InlinePool, Pool, TokioPool};
pub use random::{OsRandom, Random};

/// A boxed future, as object-safe traits return them.
pub type BoxFuture<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + Send + 'a>>;
