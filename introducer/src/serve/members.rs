//! Who belongs to a grid: taken from its owner, passed on to whom it concerns.

use std::sync::Arc;

use protocol::NodeId;
use protocol::membership::MembershipNews;
use protocol::message::{AskMembership, Publish, Reply};
use protocol::transport::{Stream, TransportError};
use tokio::sync::broadcast::error::RecvError;
use tracing::debug;

use super::Introducer;
use super::connection::send;
use crate::grids::{Opened, PublishError};

impl Introducer {
    /// Takes what the owner of a grid published: checks it, makes it durable, passes it on.
    pub(super) async fn publish(&self, remote: NodeId, publish: Publish) -> Result<(), PublishError> {
        if !self.is_served(&remote) {
            return Err(PublishError::NotOurs);
        }
        let opened = self.parts.pool.run(move || Opened::open(publish, &remote)).await?;
        let now = self.parts.clock.unix_time();
        // One at a time: the file is never older than an answer.
        let saving = self.members_saved.clone().lock_owned().await;
        let news = self.grids().insert(remote, opened, now, self.parts.limits.grids)?;
        if !news {
            return Ok(());
        }
        let (keep, bytes) = (self.parts.members.clone(), self.grids().encode());
        let write = move || {
            let _saving = saving;
            keep.replace(&bytes)
        };
        self.parts.pool.run(write).await.map_err(PublishError::Keep)?;
        // Nobody follows if this fails.
        let _ = self.member_news.send(remote);
        debug!(grid = %remote.short(), "memberships are published");
        Ok(())
    }

    /// Whether this introducer serves the grid of this owner.
    pub(super) fn is_served(&self, owner: &NodeId) -> bool {
        let owners = &self.parts.limits.owners;
        owners.is_empty() || owners.contains(owner)
    }

    fn news_of(&self, ask: &AskMembership, member: &NodeId) -> MembershipNews {
        self.grids().news(&ask.grid, member)
    }
}

/// Sends what concerns this member now, and ends the stream.
pub(super) async fn tell(
    introducer: &Introducer,
    ask: &AskMembership,
    member: &NodeId,
    stream: &mut Stream,
) -> Result<(), TransportError> {
    send(stream, &Reply::Ok(introducer.news_of(ask, member))).await?;
    stream.send.finish()
}

/// Sends what concerns this member now and whenever it changes, until the member or the introducer is gone.
pub(super) async fn follow(
    introducer: Arc<Introducer>,
    ask: AskMembership,
    member: NodeId,
    mut stream: Stream,
) {
    if let Err(error) = keep_telling(&introducer, &ask, &member, &mut stream).await {
        debug!(%error, "somebody no longer follows who belongs to a grid");
    }
}

async fn keep_telling(
    introducer: &Introducer,
    ask: &AskMembership,
    member: &NodeId,
    stream: &mut Stream,
) -> Result<(), TransportError> {
    // First the ear, then the state: what comes in between is sent twice, never missed.
    let mut changes = introducer.member_news.subscribe();
    let mut told = None;
    loop {
        let news = introducer.news_of(ask, member);
        if told.as_ref() != Some(&news) {
            send(stream, &Reply::Ok(news.clone())).await?;
            told = Some(news);
        }
        loop {
            match changes.recv().await {
                Ok(grid) if grid != ask.grid => {}
                Ok(_) | Err(RecvError::Lagged(_)) => break,
                Err(RecvError::Closed) => return stream.send.finish(),
            }
        }
    }
}
