//! Reads of many slots on their way: what gathers for a server while requests to it are under way goes out together as the next one. Who
//! walks a tree reads hundreds of slots at once, of the same servers.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use protocol::NodeId;
use protocol::limits::MAX_LIST;
use protocol::message::{Reply, Request};
use protocol::session::RequestError;
use protocol::slot_message::{SlotRead, SlotReads, SlotState, SlotStates};
use tokio::sync::oneshot;

use super::ask::patience;
use crate::Client;
use crate::grid::Server;
use crate::servers::{Servers, within};

/// Requests to one server at once; what comes on top of them gathers.
const UNDER_WAY: usize = 2;

type Outcome = Result<SlotState, Arc<RequestError>>;

/// What waits for each server.
#[derive(Default)]
pub(crate) struct Gathering(Mutex<HashMap<NodeId, Queue>>);

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    under_way: usize,
}

/// A read, and whom to tell what came of it.
struct Waiting {
    ask: SlotRead,
    answer: oneshot::Sender<Outcome>,
}

impl Gathering {
    /// Asks a server what one of its stores holds of a slot.
    pub(super) async fn read(&self, client: &Client, server: &Server, ask: SlotRead) -> Outcome {
        let servers = client.readers();
        let (answer, heard) = oneshot::channel();
        let begins = {
            let mut queues = self.lock();
            let queue = queues.entry(server.id).or_default();
            queue.waiting.push_back(Waiting { ask, answer });
            let begins = queue.under_way < UNDER_WAY;
            queue.under_way += usize::from(begins);
            begins
        };
        if begins {
            tokio::spawn(work_off(client.clone(), server.clone()));
        }
        let after = servers.timeouts().connect + patience(servers);
        match tokio::time::timeout(after, heard).await {
            Ok(Ok(outcome)) => outcome,
            // It waited behind others that were not answered.
            _ => Err(RequestError::Timeout { after }.into()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<NodeId, Queue>> {
        self.0.lock().expect("no code panics while it holds this lock")
    }

    /// What goes into the next request; nothing, and one request fewer under way, if nothing waits.
    fn take(&self, server: &NodeId) -> Vec<Waiting> {
        let mut queues = self.lock();
        let queue = queues.entry(*server).or_default();
        let mut batch = Vec::new();
        while batch.len() < MAX_LIST
            && let Some(waiting) = queue.waiting.pop_front()
        {
            if !waiting.answer.is_closed() {
                batch.push(waiting);
            }
        }
        queue.under_way -= usize::from(batch.is_empty());
        batch
    }

    /// Puts back, in front, what an answer had no place for.
    fn put_back(&self, server: &NodeId, rest: Vec<Waiting>) {
        let mut queues = self.lock();
        let queue = queues.entry(*server).or_default();
        rest.into_iter().rev().for_each(|waiting| queue.waiting.push_front(waiting));
    }
}

async fn work_off(client: Client, server: Server) {
    loop {
        let mut batch = client.slots().gathering.take(&server.id);
        if batch.is_empty() {
            return;
        }
        match ask(client.readers(), &server, &batch).await {
            Ok(states) => {
                let rest = batch.split_off(states.len().min(batch.len()));
                for (waiting, state) in batch.into_iter().zip(states) {
                    waiting.tell(state);
                }
                client.slots().gathering.put_back(&server.id, rest);
            }
            Err(error) => {
                client.readers().failed(&server.id, &error);
                let error = Arc::new(error);
                for waiting in batch {
                    let _ = waiting.answer.send(Err(error.clone()));
                }
            }
        }
    }
}

impl Waiting {
    fn tell(self, state: Reply<SlotState>) {
        let outcome = match state {
            Reply::Ok(state) if self.ask.store.is_some_and(|store| store != state.store) => {
                Err(RequestError::Nonsense { what: "it answers for another store" })
            }
            Reply::Ok(state) => Ok(state),
            Reply::Err(error) => Err(error.into()),
        };
        // Whoever no longer waits does not learn of it.
        let _ = self.answer.send(outcome.map_err(Arc::new));
    }
}

/// One request. At least the first is answered.
async fn ask(
    servers: &Servers,
    server: &Server,
    batch: &[Waiting],
) -> Result<Vec<Reply<SlotState>>, RequestError> {
    let session = servers.session(server).await?;
    let after = patience(servers);
    if let [only] = batch {
        let request = Request::SlotRead(only.ask.clone());
        let (state, _) = within(after, session.request::<SlotState>(&request)).await?;
        return Ok(vec![Reply::Ok(state)]);
    }
    let reads = batch.iter().map(|waiting| waiting.ask.clone()).collect();
    let request = Request::SlotReads(SlotReads { reads });
    let (SlotStates { states }, _) = within(after, session.request::<SlotStates>(&request)).await?;
    match states.len() {
        0 => Err(RequestError::Nonsense { what: "it answers nothing of what it was asked" }),
        answers if answers > batch.len() => {
            Err(RequestError::Nonsense { what: "it answers what it was not asked" })
        }
        _ => Ok(states),
    }
}
