//! One upload of the same object at a time: two that run at once would each get half of the servers, and wait for the other half.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};

use protocol::message::Bytes16;
use tokio::sync::OwnedMutexGuard;

/// Whose turn it is, by upload id.
#[derive(Default)]
pub(crate) struct Turns(Mutex<HashMap<[u8; 16], Weak<tokio::sync::Mutex<()>>>>);

impl Turns {
    /// Waits until nobody else sends this object. The turn ends when it is dropped.
    pub(super) async fn take(&self, upload: Bytes16) -> OwnedMutexGuard<()> {
        self.of(upload).lock_owned().await
    }

    fn of(&self, upload: Bytes16) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.0.lock().expect("no code panics while it holds this lock");
        if let Some(turn) = turns.get(&upload.0).and_then(Weak::upgrade) {
            return turn;
        }
        turns.retain(|_, turn| turn.strong_count() > 0);
        let turn = Arc::default();
        turns.insert(upload.0, Arc::downgrade(&turn));
        turn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_at_a_time_and_nothing_is_left() {
        let turns = Turns::default();
        let first = turns.take(Bytes16([1; 16])).await;
        let other = turns.take(Bytes16([2; 16])).await;
        let second = tokio::time::timeout(std::time::Duration::from_millis(10), turns.take(Bytes16([1; 16])));
        assert!(second.await.is_err());
        drop((first, other));
        let _third = turns.take(Bytes16([1; 16])).await;
        let _fourth = turns.take(Bytes16([3; 16])).await;
        assert_eq!(turns.0.lock().unwrap().len(), 2);
    }
}
