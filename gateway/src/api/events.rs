//! What happened lately, and what happens now.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;
use serde_json::json;
use tokio::sync::{Semaphore, broadcast};
use tokio::time::Instant;

use super::asked::HasToken;
use super::problem::Problem;
use crate::Gateway;
use crate::stream::{Gone, Out, lines};

/// Events that are remembered.
const RING: usize = 200;
/// Readers at a time.
const READERS: usize = 32;
/// How often readers hear of transfers.
const BEAT: Duration = Duration::from_secs(1);
/// How often servers are asked while somebody reads.
const LOOK: u32 = 5;

/// Something that happened.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Event {
    id: u64,
    at: u64,
    kind: &'static str,
    text: String,
}

/// The events, and who reads them.
pub(crate) struct Events {
    ring: Mutex<Ring>,
    news: broadcast::Sender<Event>,
    places: Arc<Semaphore>,
}

#[derive(Default)]
struct Ring {
    last: u64,
    events: VecDeque<Event>,
}

impl Default for Events {
    fn default() -> Self {
        let (news, _) = broadcast::channel(RING);
        Self { ring: Mutex::default(), news, places: Arc::new(Semaphore::new(READERS)) }
    }
}

impl Events {
    /// Notes that something happened. The text names files perhaps, and never a capability.
    pub(super) fn note(&self, kind: &'static str, text: String) {
        let mut ring = self.ring.lock().expect("no code panics while it holds this lock");
        ring.last += 1;
        let event = Event { id: ring.last, at: super::since_1970().as_secs(), kind, text };
        if ring.events.len() == RING {
            ring.events.pop_front();
        }
        ring.events.push_back(event.clone());
        // Under the lock: whoever begins to read gets each event once. Nobody may be reading.
        let _ = self.news.send(event);
    }

    fn read(&self) -> (Vec<Event>, broadcast::Receiver<Event>) {
        let ring = self.ring.lock().expect("no code panics while it holds this lock");
        (ring.events.iter().cloned().collect(), self.news.subscribe())
    }

    pub(super) fn readers(&self) -> usize {
        READERS - self.places.available_permits()
    }

    pub(super) fn count(&self) -> u64 {
        self.ring.lock().expect("no code panics while it holds this lock").last
    }
}

/// Recent events, then new ones as they come, and every second the transfers under way.
pub(super) async fn events(
    State(gateway): State<Arc<Gateway>>,
    _token: HasToken,
) -> Result<Response, Problem> {
    let place = gateway.shared().events.places.clone().try_acquire_owned();
    let place = place.map_err(|_| Problem::busy("as many pages as may watch at a time do already"))?;
    Ok(lines(async move |out| {
        let _place = place;
        watch(&gateway, out).await
    }))
}

async fn watch(gateway: &Arc<Gateway>, mut out: Out) -> Result<Out, Gone> {
    let (past, mut news) = gateway.shared().events.read();
    for event in past {
        out.line(&json!({ "event": event })).await?;
    }
    let mut beat = tokio::time::interval(BEAT);
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut beats, mut before) = (0u32, HashMap::new());
    let mut last = Instant::now();
    let mut stopped = std::pin::pin!(gateway.stopped());
    loop {
        tokio::select! {
            // Whoever watches keeps no gateway from being stopped.
            () = &mut stopped => return Ok(out),
            event = news.recv() => match event {
                Ok(event) => out.line(&json!({ "event": event })).await?,
                // Who reads too slowly misses some.
                Err(broadcast::error::RecvError::Lagged(_)) => continue,
                Err(broadcast::error::RecvError::Closed) => return Ok(out),
            },
            _ = beat.tick() => {
                let passed = last.elapsed();
                last = Instant::now();
                let transfers = gateway.shared().transfers.rates(&mut before, passed);
                out.line(&json!({ "transfers": transfers })).await?;
                if beats.is_multiple_of(LOOK) {
                    let gateway = gateway.clone();
                    tokio::spawn(async move { gateway.shared().watch.status(&gateway).await });
                }
                beats = beats.wrapping_add(1);
            }
        }
        out.flush().await?;
    }
}
