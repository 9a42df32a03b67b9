//! Random chunks of a share, with proofs that they are what H says: a few kilobytes tell whether a server still has it.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::BytesMut;
use encoding::Sampled;
use protocol::Random;
use protocol::frame::FrameError;
use protocol::limits::MAX_SHARES;
use protocol::message::{Bulk, Request, Sample};
use protocol::session::RequestError;

use crate::download::{FetchError, KnownShare, Object};
use crate::servers::within;

/// Has a server prove so many chunks of a share of its own choice, and holds them against the share's root; says how many it were. `None`
/// if all of the share came with the answer, where it was checked.
pub(super) async fn sample_share(
    object: &Arc<Object>,
    share: &KnownShare,
    chunks: u32,
) -> Result<Option<u32>, FetchError> {
    if share.inline.is_some() {
        return Ok(None);
    }
    let total = object.geometry().share_chunks();
    let chosen: Vec<u64> = choose(&**object.client.random(), total, chunks.max(1)).into_iter().collect();
    for some in chosen.chunks(MAX_SHARES) {
        prove(object, share, some.to_vec()).await?;
    }
    Ok(Some(chosen.len() as u32))
}

async fn prove(object: &Arc<Object>, share: &KnownShare, chunks: Vec<u64>) -> Result<(), FetchError> {
    let Some(sampled) = Sampled::new(*object.geometry(), chunks.clone()) else { return Ok(()) };
    let len = sampled.proof_len();
    let timeouts = *object.client.readers().timeouts();
    let session = object.client.readers().session(&share.server).await?;
    let request = Request::Sample(Sample { hash: object.hash, number: share.number, chunks });
    let asked = within(timeouts.answer, async {
        let (bulk, mut stream): (Bulk, _) = session.request(&request).await?;
        if bulk.lens != [len] {
            return Err(RequestError::Nonsense { what: "the proofs are not those that were asked for" });
        }
        let mut proof = BytesMut::new();
        if !stream.recv.fill(&mut proof, len as usize).await.map_err(FrameError::from)? {
            return Err(FrameError::Ended.into());
        }
        Ok(proof)
    });
    let proof = asked.await?;
    let root = object.descriptor.share_roots[usize::from(share.number)];
    let proved = object.client.pool().run(move || sampled.verify(&root, &proof)).await;
    proved.map_err(|_| FetchError::Corrupt { what: "a chunk" })
}

/// `wanted` different numbers below `total`, each set of them as likely as any other (Floyd's way); all of them if there are no more.
fn choose(random: &dyn Random, total: u64, wanted: u32) -> BTreeSet<u64> {
    let wanted = u64::from(wanted).min(total);
    let mut chosen = BTreeSet::new();
    for top in total - wanted..total {
        let number = below(random, top + 1);
        if !chosen.insert(number) {
            chosen.insert(top);
        }
    }
    chosen
}

/// A number below `bound`: 128 random bits leave nothing that could be noticed of the bias.
fn below(random: &dyn Random, bound: u64) -> u64 {
    (u128::from_le_bytes(random.bytes()) % u128::from(bound)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Counter(std::sync::atomic::AtomicU64);

    impl Random for Counter {
        fn fill(&self, out: &mut [u8]) {
            let count = self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            blake3::Hasher::new().update(&count.to_le_bytes()).finalize_xof().fill(out);
        }
    }

    #[test]
    fn chunks_are_chosen_evenly() {
        let random = Counter(Default::default());
        let mut often = [0_u32; 20];
        for _ in 0..10_000 {
            let chosen = choose(&random, 20, 5);
            assert_eq!(chosen.len(), 5);
            chosen.into_iter().for_each(|number| often[number as usize] += 1);
        }
        assert!(often.iter().all(|count| (2300..2700).contains(count)), "{often:?}");
        assert_eq!(choose(&random, 3, 5).into_iter().collect::<Vec<_>>(), [0, 1, 2]);
    }
}
