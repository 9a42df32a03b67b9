//! The gateway: a grid over HTTP. Tahoe's web API for programs ([`tahoe`]), an API of our own ([`api`]), and a web page for people ([`ui`]).
//!
//! A request is let in by [`guard`] before any route sees it, and every answer leaves with the headers that [`guard`] gives it.
//! Requests that name a cap are authorised by it; all others need the token of the installation.

pub mod api;
pub mod content;
pub mod failure;
pub mod guard;
mod incoming;
pub mod serve;
pub mod status;
mod stream;
pub mod tahoe;
pub mod token;
pub mod ui;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use client::Client;
use tokio::sync::watch;

pub use serve::serve;
pub use token::Token;

/// How a gateway is to behave.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Names besides loopback's and its own address that a `Host` header may give.
    pub hosts: Vec<String>,
    /// The client's directory, for its aliases; without it the gateway knows none.
    pub client_dir: Option<PathBuf>,
    /// What authorises requests that no cap does.
    pub token: Token,
    /// Whether it speaks TLS.
    pub tls: bool,
    /// Whether it lets in whoever reaches it at an address other than loopback, as its operator insisted.
    pub insecure: bool,
}

/// What all requests share.
pub struct Gateway {
    client: Client,
    settings: Settings,
    shared: api::Shared,
    tahoe: tahoe::Shared,
    under_way: Arc<AtomicUsize>,
    stopping: watch::Sender<bool>,
}

impl Gateway {
    /// A gateway to the grid of this client.
    pub fn new(client: Client, settings: Settings) -> Arc<Self> {
        let (tahoe, shared) = (tahoe::Shared::default(), api::Shared::new(&settings));
        let (under_way, stopping) = (Arc::default(), watch::Sender::new(false));
        Arc::new(Self { client, settings, tahoe, shared, under_way, stopping })
    }

    /// Requests that were begun, and whose answers are not yet sent to their ends.
    pub fn under_way(&self) -> usize {
        self.under_way.load(Ordering::Relaxed)
    }

    /// Takes no more requests, and ends those that would never end by themselves.
    fn stop(&self) {
        self.stopping.send_replace(true);
    }

    /// Waits until it is being stopped.
    pub(crate) async fn stopped(&self) {
        // Whoever tells it is this gateway itself, which is there.
        let _ = self.stopping.subscribe().wait_for(|stopping| *stopping).await;
    }

    /// The client that does the work.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// What requests of our own API share.
    pub(crate) fn shared(&self) -> &api::Shared {
        &self.shared
    }

    pub(crate) fn tahoe(&self) -> &tahoe::Shared {
        &self.tahoe
    }

    /// How it is to behave.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }
}

/// All routes, behind the guard.
pub fn router(gateway: Arc<Gateway>) -> axum::Router {
    let guard = axum::middleware::from_fn_with_state(gateway.clone(), guard::admit);
    axum::Router::new()
        .merge(tahoe::routes())
        .merge(api::routes())
        .merge(ui::routes())
        .layer(axum::middleware::from_fn_with_state(gateway.clone(), tahoe::front))
        .layer(guard)
        .with_state(gateway)
}
