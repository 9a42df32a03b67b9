//! What is here of many objects, from the index alone: nothing is read, so nothing is proved.

use std::sync::Arc;

use caps::VerifyHash;
use protocol::message::{
    Census, CensusReply, Counted, CountedShare, ErrorCode, MAX_CENSUS_SHARES, StoreState,
};
use protocol::transport::Stream;

use crate::answer::{Failure, answer};
use crate::error::ReadError;
use crate::server::{Caller, Server};
use crate::store::Store;

/// Bytes that request and answer may take.
const CENSUS_MEMORY: u64 = 2 * 1024 * 1024;

impl Server {
    pub(crate) async fn census(
        &self,
        caller: &Caller,
        census: Census,
        stream: &mut Stream,
    ) -> Result<(), Failure> {
        if census.hashes.is_empty() {
            return Err(Failure::refused(ErrorCode::BadRequest, "a census is of one object at least"));
        }
        let _memory = self.memory(caller, CENSUS_MEMORY).await?;
        let stores: Vec<Arc<Store>> =
            self.stores.iter().filter(|store| store.state() != StoreState::Failed).cloned().collect();
        let counted = self.pool.run(move || count(&stores, &census)).await?;
        answer(stream, self.limits.stalled, &counted).await
    }
}

fn count(stores: &[Arc<Store>], census: &Census) -> Result<CensusReply, ReadError> {
    let hashes: Vec<VerifyHash> = census.hashes.iter().map(|hash| VerifyHash::new(hash.0)).collect();
    let mut objects = vec![Counted::default(); hashes.len()];
    for (at, store) in (0..).zip(stores) {
        for (counted, numbers) in objects.iter_mut().zip(store.numbers_of(&hashes)?) {
            counted.0.extend(numbers.into_iter().map(|number| CountedShare { number, store: at }));
        }
    }
    let mut shares = 0;
    let rest = objects.iter().position(|counted| {
        shares += counted.0.len();
        shares > MAX_CENSUS_SHARES
    });
    objects.truncate(rest.unwrap_or(objects.len()).max(1));
    let scrubbed_s = stores.iter().map(|store| store.totals().scrub.finished_s).collect();
    Ok(CensusReply { stores: stores.iter().map(|store| store.id()).collect(), objects, scrubbed_s })
}
