//! The introducer: keeps the newest announcement of every server, and passes it on.
//!
//! It is a convenience, not an authority. Announcements are signed by the servers they describe, clients remember every server they ever
//! heard of, and a grid works for weeks with no introducer running; so an introducer can withhold and delay, and nothing else.
//!
//! - [`Introducer`] answers: hello, announce, subscribe; and for the owners of grids it keeps certificates and revocation lists, which they
//!   sign, and carries the letters of invitations, which it cannot read. It takes its clock, its pool and its storage as arguments, so that it runs in a
//!   simulation as it does on a machine.
//! - [`Keep`] is where announcements outlive a restart: [`FileKeep`] on a disk, [`MemoryKeep`] in tests.
//! - [`node`] is an introducer's directory: its key, its configuration, its address.
//!
//! Deliberately absent: the transport (the program binds one and passes a listener), and any opinion on which server is trustworthy.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use std::sync::Arc;
//!
//! use introducer::{Introducer, Parts, node::IntroducerNode};
//! use protocol::quic::{QuicListener, bind, server_config};
//!
//! let node = IntroducerNode::open("introducer".as_ref())?;
//! let introducer = Introducer::new(Parts::new(Arc::new(node.keep())))?;
//! let (endpoint, _) = bind(node.config().listen, Some(server_config(node.key())))?;
//! println!("{}", node.write_url(endpoint.local_addr()?)?);
//! introducer.serve(Arc::new(QuicListener::new(endpoint))).await;
//! # Ok(())
//! # }
//! ```

mod files;
mod grids;
mod keep;
pub mod node;
mod registry;
mod serve;

pub use grids::PublishError;
pub use keep::{FileKeep, Keep, LoadError, MemoryKeep};
pub use registry::{AnnounceError, Limits};
pub use serve::{Introducer, Parts};
