//! What an account is charged, told to nobody else.

use protocol::message::{StoreUsage, Usage};
use protocol::transport::Stream;

use crate::answer::{Failure, answer};
use crate::server::{Caller, Server};

impl Server {
    pub(crate) async fn usage(&self, caller: &Caller, stream: &mut Stream) -> Result<(), Failure> {
        let (stores, account) = (self.stores.clone(), caller.account);
        let charged = self.pool.run(move || {
            // One bad disk does not speak for the others.
            let charged = stores.iter().filter_map(|store| {
                let used = store.charged(&account).ok()?;
                Some(StoreUsage { store: store.id(), used })
            });
            charged.collect::<Vec<_>>()
        });
        let stores = charged.await;
        let used = stores.iter().map(|store| store.used).sum();
        let quota = self.ledger.quota(&account);
        answer(stream, self.limits.stalled, &Usage { used, quota, stores }).await
    }
}
