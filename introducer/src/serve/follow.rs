//! Subscriptions: the whole list, and then each announcement as it comes.

use std::sync::Arc;

use protocol::announcement::Signed;
use protocol::limits::{MAX_BATCH, MAX_FRAME_LEN};
use protocol::message::{Announcements, Reply};
use protocol::transport::{Stream, TransportError};
use tokio::sync::broadcast::error::RecvError;
use tracing::debug;

use super::Introducer;
use super::connection::send;
use crate::registry::size;

/// Sends the list and ends the stream.
pub(super) async fn list(introducer: &Introducer, stream: &mut Stream) -> Result<(), TransportError> {
    send_list(stream, &introducer.announcements()).await?;
    stream.send.finish()
}

/// Sends the list and what comes later, until the client or the introducer is gone. Who falls behind gets the whole list again.
pub(super) async fn follow(introducer: Arc<Introducer>, mut stream: Stream) {
    if let Err(error) = keep_sending(&introducer, &mut stream).await {
        debug!(%error, "a subscription ends");
    }
}

async fn keep_sending(introducer: &Introducer, stream: &mut Stream) -> Result<(), TransportError> {
    loop {
        // First the ear, then the list: what comes in between is sent twice, never missed.
        let mut news = introducer.news.subscribe();
        send_list(stream, &introducer.announcements()).await?;
        loop {
            match news.recv().await {
                Ok(signed) => send_list(stream, &[signed]).await?,
                Err(RecvError::Lagged(missed)) => {
                    debug!(missed, "a slow subscriber gets the whole list again");
                    break;
                }
                Err(RecvError::Closed) => return stream.send.finish(),
            }
        }
    }
}

/// Sends announcements in as many messages as they need; at least one.
async fn send_list(stream: &mut Stream, mut list: &[Arc<Signed>]) -> Result<(), TransportError> {
    loop {
        let (first, rest) = list.split_at(fitting(list));
        let list_of_first = first.iter().map(|signed| Signed::clone(signed)).collect();
        send(stream, &Reply::Ok(Announcements { list: list_of_first })).await?;
        list = rest;
        if list.is_empty() {
            return Ok(());
        }
    }
}

/// How many announcements of the front of `list` go into one message.
fn fitting(list: &[Arc<Signed>]) -> usize {
    let mut room = MAX_FRAME_LEN as usize / 2;
    let fits = |signed: &&Arc<Signed>| {
        let left = room.checked_sub(size(signed));
        room = left.unwrap_or(0);
        left.is_some()
    };
    list.iter().take(MAX_BATCH).take_while(fits).count().max(1).min(list.len())
}
