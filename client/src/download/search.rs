//! Finding shares: the servers that should have them are asked first, then, by and by, all others.

use std::collections::VecDeque;
use std::sync::Mutex;

use bytes::{Bytes, BytesMut};
use caps::{PlacementBucket, VerifyHash};
use encoding::{Descriptor, MAX_DESCRIPTOR_LEN, ShareCheck, ShareReport};
use protocol::limits::{MAX_INLINE_SHARE, MAX_LIST};
use protocol::message::{Bytes32, Found, Lookup, Request};
use protocol::session::RequestError;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::error::{Complaint, DownloadError, ServerAnswer, complain, is_corrupt};
use super::holdings::{Holdings, KnownShare};
use super::lock;
use crate::Client;
use crate::grid::Server;
use crate::servers::within;

/// Shares up to this many bytes come with the answer: a small file costs one round trip.
const INLINE: u32 = 64 * 1024;
const _: () = assert!(INLINE <= MAX_INLINE_SHARE);
/// What is said of a server that kept us waiting.
pub(crate) const SLOW: &str = "it is slow: others were asked as well";

pub(crate) struct Search {
    hash: VerifyHash,
    remaining: VecDeque<Server>,
    asking: JoinSet<(Server, Result<Answer, LookupError>)>,
    /// Those that are being asked, since when.
    asked: Vec<(Server, Instant)>,
    descriptor: Option<Descriptor>,
    said: Vec<ServerAnswer>,
}

/// What a server said that it has.
pub(crate) struct Answer {
    pub(crate) descriptor: Option<Descriptor>,
    pub(crate) shares: Vec<KnownShare>,
}

/// Why a server's answer is of no use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LookupError {
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error("it sent a descriptor or share that is not this object's")]
    Corrupt,
}

impl Search {
    pub(crate) fn new(client: &Client, hash: VerifyHash, bucket: PlacementBucket) -> Self {
        let grid = client.grid();
        let mut servers: Vec<Server> =
            grid.candidates(bucket).iter().map(|candidate| grid.server(&candidate.server)).collect();
        servers.sort_by_key(|server| client.readers().is_shunned(&server.id));
        Self {
            hash,
            remaining: servers.into(),
            asking: JoinSet::new(),
            asked: Vec::new(),
            descriptor: None,
            said: Vec::new(),
        }
    }

    pub(crate) fn descriptor(&self) -> Option<&Descriptor> {
        self.descriptor.as_ref()
    }

    /// Asks on until `wanted` different usable shares are known or every server was heard. What was heard is kept if it is given up.
    pub(crate) async fn until(
        &mut self,
        client: &Client,
        holdings: &Mutex<Holdings>,
        complaints: &Mutex<Vec<Complaint>>,
        wanted: usize,
    ) {
        let hedge = client.readers().timeouts().hedge;
        loop {
            let missing = wanted.saturating_sub(lock(holdings).distinct());
            if missing == 0 {
                return;
            }
            while self.asking.len() < missing && self.ask_next(client) {}
            match timeout(hedge, self.asking.join_next()).await {
                Ok(None) => return,
                Ok(Some(Ok((server, answer)))) => self.hear(server, answer, holdings, complaints),
                Ok(Some(Err(_))) => {}
                // Somebody is slow: ask as many others.
                Err(_) => {
                    for (server, _) in self.asked.iter().filter(|(_, since)| since.elapsed() >= hedge) {
                        let server = server.clone();
                        complain(
                            complaints,
                            Complaint { server, number: None, what: SLOW.into(), corrupt: false },
                        );
                    }
                    let _ = (0..missing).all(|_| self.ask_next(client));
                }
            }
        }
    }

    fn ask_next(&mut self, client: &Client) -> bool {
        let Some(server) = self.remaining.pop_front() else { return false };
        let (client, hash) = (client.clone(), self.hash);
        self.asked.push((server.clone(), Instant::now()));
        self.asking.spawn(async move {
            let answer = ask(&client, &server, hash).await;
            (server, answer)
        });
        true
    }

    fn hear(
        &mut self,
        server: Server,
        answer: Result<Answer, LookupError>,
        holdings: &Mutex<Holdings>,
        complaints: &Mutex<Vec<Complaint>>,
    ) {
        self.asked.retain(|(asked, _)| asked.id != server.id);
        let answered = !matches!(answer, Err(LookupError::Request(_)));
        let said = match answer {
            Ok(answer) => {
                let numbers: Vec<String> =
                    answer.shares.iter().map(|share| share.number.to_string()).collect();
                answer.shares.into_iter().for_each(|share| lock(holdings).add(share));
                if self.descriptor.is_none() {
                    self.descriptor = answer.descriptor;
                }
                if numbers.is_empty() {
                    "has no share".into()
                } else {
                    format!("has share {}", numbers.join(", "))
                }
            }
            Err(error) => {
                let corrupt = match &error {
                    LookupError::Corrupt => true,
                    LookupError::Request(error) => is_corrupt(error),
                };
                let (server, what) = (server.clone(), error.to_string());
                complain(complaints, Complaint { server, number: None, what, corrupt });
                error.to_string()
            }
        };
        self.said.push(ServerAnswer { server, said, answered });
    }

    pub(crate) fn not_enough(&self, needed: u16, holdings: &Holdings) -> DownloadError {
        if self.said.is_empty() {
            return DownloadError::NoServers;
        }
        let found = holdings.distinct() as u16;
        DownloadError::NotEnoughShares { needed, found, servers: self.said.clone() }
    }
}

/// Asks one server which shares it has; small ones come with the answer, checked.
pub(crate) async fn ask(client: &Client, server: &Server, hash: VerifyHash) -> Result<Answer, LookupError> {
    let after = client.readers().timeouts().answer;
    let session = client.readers().session(server).await?;
    let asked = async {
        let request = Request::Lookup(Lookup { hash: Bytes32(*hash.as_bytes()), inline: INLINE });
        let (found, mut stream): (Found, _) = session.request(&request).await?;
        let mut numbers: Vec<u16> = found.shares.iter().map(|share| share.number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        if numbers.last().is_some_and(|last| *last >= 256) || found.shares.len() > numbers.len() * MAX_LIST {
            return Err(RequestError::Nonsense { what: "no object has such shares" });
        }
        let mut inline = Vec::new();
        for share in &found.shares {
            if !share.inline {
                inline.push(None);
                continue;
            }
            if share.len > u64::from(INLINE) {
                return Err(RequestError::Nonsense { what: "an inline share is longer than was asked for" });
            }
            let mut bytes = BytesMut::new();
            if !stream
                .recv
                .fill(&mut bytes, share.len as usize)
                .await
                .map_err(protocol::frame::FrameError::from)?
            {
                return Err(protocol::frame::FrameError::Ended.into());
            }
            inline.push(Some(bytes.freeze()));
        }
        Ok((found, inline))
    };
    let (found, inline) = within(after, asked).await?;
    let mut answer = Answer { descriptor: None, shares: Vec::new() };
    if let Some(bytes) = &found.descriptor {
        if bytes.len() > MAX_DESCRIPTOR_LEN || Descriptor::hash(bytes) != hash {
            return Err(LookupError::Corrupt);
        }
        answer.descriptor = Some(Descriptor::parse(bytes).map_err(|_| LookupError::Corrupt)?);
    }
    for (share, bytes) in found.shares.iter().zip(inline) {
        let checked = bytes.map(|bytes| check_inline(bytes, hash, share.number)).transpose()?;
        let inline = checked.map(|(bytes, report)| {
            answer.descriptor.get_or_insert(report.descriptor);
            (bytes, report.layout)
        });
        answer.shares.push(KnownShare { number: share.number, server: server.clone(), inline });
    }
    let total = answer.descriptor.as_ref().map_or(0, |descriptor| descriptor.geometry.params().total());
    if answer.shares.iter().any(|share| share.number >= total) {
        return Err(LookupError::Corrupt);
    }
    Ok(answer)
}

fn check_inline(bytes: Bytes, hash: VerifyHash, number: u16) -> Result<(Bytes, ShareReport), LookupError> {
    let read_at = |at: u64, buffer: &mut [u8]| {
        let start = at as usize;
        let part = bytes
            .get(start..)
            .and_then(|rest| rest.get(..buffer.len()))
            .ok_or(std::io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(part);
        Ok(())
    };
    let report = ShareCheck::new(0).finish(bytes.len() as u64, read_at).map_err(|_| LookupError::Corrupt)?;
    if report.hash != hash || report.number != number {
        return Err(LookupError::Corrupt);
    }
    Ok((bytes, report))
}
