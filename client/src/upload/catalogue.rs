//! Sending nothing twice: finding out that a file is on the grid already, and making the servers prove it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use encoding::{EncodedObject, EncodedSegment, Geometry};
use protocol::NodeId;
use protocol::message::{Bytes32, Expected, Flags, HasLengths, Request};
use tokio::task::JoinSet;

use super::Upload;
use super::error::UploadError;
use super::feed::FileOrigin;
use crate::placement::assign;
use crate::servers::within;

/// Servers that take longer to say yes or no are taken to say no.
const PATIENCE: Duration = Duration::from_secs(2);

/// What proves that a server holds a share: BLAKE3 of the whole share file under a fresh nonce, which only we chose.
pub(crate) enum Proofs {
    /// The object has one segment, and here it is.
    Segment(EncodedSegment),
    /// Computed while encoding: for each share, the store it is expected in, the nonce, and that store's proof.
    Computed(Vec<(NodeId, Bytes32, [u8; 32])>),
}

/// The object, if it is cheap or worth while to know it before anything is sent: small files are encoded first in any case, larger
/// ones when enough servers say that they hold something of that length.
pub(crate) async fn known_object(
    upload: &Arc<Upload>,
    origin: FileOrigin,
) -> Result<Option<(EncodedObject, Proofs)>, UploadError> {
    let (size, hash) = origin.totals();
    let mut builder = upload.builder();
    if origin.segments() == 1 {
        let shared = upload.clone();
        let segment = upload.client.pool().run(move || origin.encode(&shared, 0)).await?.encoded;
        builder.add(&segment)?;
        return Ok(Some((upload.finish(builder, size, &hash)?, Proofs::Segment(segment))));
    }
    if !likely_there(upload, size).await? {
        return Ok(None);
    }
    let stores = expected_stores(upload);
    if stores.len() < usize::from(upload.params.total()) {
        return Ok(None);
    }
    let nonces: Vec<Bytes32> = stores.iter().map(|_| Bytes32(upload.client.random().bytes())).collect();
    let keys = nonces.iter().zip(&stores).map(|(nonce, store)| Expected::proof_key(nonce, store));
    let mut hashers: Vec<blake3::Hasher> = keys.map(|key| blake3::Hasher::new_keyed(&key)).collect();
    for index in 0..origin.segments() {
        let (shared, origin) = (upload.clone(), origin.clone());
        let job =
            move || encode_and_hash(&shared, &origin, index, &mut hashers).map(|segment| (segment, hashers));
        let segment;
        (segment, hashers) = upload.client.pool().run(job).await?;
        builder.add(&segment)?;
    }
    let object = upload.finish(builder, size, &hash)?;
    let proofs = (0..)
        .zip(hashers)
        .map(|(number, mut hasher)| *hasher.update(&object.trailer(number)).finalize().as_bytes());
    let proofs = stores
        .into_iter()
        .zip(nonces)
        .zip(proofs)
        .map(|((store, nonce), proof)| (store, nonce, proof))
        .collect();
    Ok(Some((object, Proofs::Computed(proofs))))
}

fn encode_and_hash(
    upload: &Upload,
    origin: &FileOrigin,
    index: u64,
    hashers: &mut [blake3::Hasher],
) -> Result<EncodedSegment, UploadError> {
    let segment = origin.encode(upload, index)?.encoded;
    for (hasher, block) in hashers.iter_mut().zip(&segment.blocks) {
        hasher.update(block);
    }
    Ok(segment)
}

impl Proofs {
    /// The nonce to send for share `number` to `store`; `None` if what that store would answer is not known.
    pub(crate) fn nonce(&self, upload: &Upload, number: u16, store: &NodeId) -> Option<Bytes32> {
        match self {
            Self::Segment(_) => Some(Bytes32(upload.client.random().bytes())),
            Self::Computed(proofs) => {
                let (expected, nonce, _) = &proofs[usize::from(number)];
                (expected == store).then_some(*nonce)
            }
        }
    }

    /// What `store` must answer to `nonce` if it holds share `number`.
    pub(crate) fn expected(
        &self,
        object: &EncodedObject,
        number: u16,
        nonce: &Bytes32,
        store: &NodeId,
    ) -> [u8; 32] {
        match self {
            Self::Segment(segment) => {
                let mut hasher = blake3::Hasher::new_keyed(&Expected::proof_key(nonce, store));
                hasher.update(&segment.blocks[usize::from(number)]).update(&object.trailer(number));
                *hasher.finalize().as_bytes()
            }
            Self::Computed(proofs) => proofs[usize::from(number)].2,
        }
    }
}

/// The store that each share would be offered to first.
fn expected_stores(upload: &Upload) -> Vec<NodeId> {
    let candidates = upload.client.upload_candidates(upload.id.placement_bucket());
    let placed = assign(0..upload.params.total(), &BTreeMap::new(), &candidates, &BTreeSet::new());
    let store = |server: &NodeId| {
        let candidate = candidates.iter().find(|candidate| candidate.server == *server)?;
        candidate.stores.first().copied()
    };
    placed.values().filter_map(store).collect()
}

/// Asks the first N servers whether they hold anything of this length in this bucket; k of them make it worth encoding: it is the same
/// file or what an interrupted upload of it left.
async fn likely_there(upload: &Upload, size: u64) -> Result<bool, UploadError> {
    let bucket = upload.id.placement_bucket();
    let geometry = Geometry::for_plaintext(upload.params, size).map_err(encoding::EncodeError::from)?;
    let ask = Arc::new(Request::HasLengths(HasLengths {
        bucket: bucket.0,
        lengths: vec![geometry.ciphertext_len()],
    }));
    let mut asking = JoinSet::new();
    for candidate in
        upload.client.upload_candidates(bucket).into_iter().take(usize::from(upload.params.total()))
    {
        let (client, ask) = (upload.client.clone(), ask.clone());
        asking.spawn(async move {
            let server = client.grid().server(&candidate.server);
            let answer = async {
                let session = client.writers().session(&server).await?;
                session.request::<Flags>(&ask).await
            };
            within(PATIENCE, answer).await.is_ok_and(|(flags, _)| flags.flags.first() == Some(&true))
        });
    }
    let mut yes = 0;
    while let Some(answer) = asking.join_next().await {
        yes += usize::from(answer.unwrap_or(false));
    }
    Ok(yes >= usize::from(upload.params.needed()))
}
