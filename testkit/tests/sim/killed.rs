//! A proposer killed at every step: what it had begun is made or not, never half, never twice, and the slot goes on.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use client::slot::Freshness;
use encoding::Sections;
use testkit::grid::SimGrid;

use crate::history::simulate;
use crate::plan::{SECOND, timeouts};
use crate::worker::{Add, ids};

/// What the work gives, unless it has not after so many steps: then it is dropped. A step is whatever it does between two waits.
async fn steps<T>(limit: usize, work: impl Future<Output = T>) -> Option<T> {
    let (mut work, mut taken) = (pin!(work), 0);
    poll_fn(|cx| {
        if taken == limit {
            return Poll::Ready(None);
        }
        taken += 1;
        work.as_mut().poll(cx).map(Some)
    })
    .await
}

/// Kills a change after so many steps, of a client that has made changes before or of one that has not. Whether it was done before, and
/// whether it was made.
fn kill_after(limit: usize, warm: bool) -> (bool, bool) {
    simulate(async {
        // The same run each time, so that every step of it has its turn.
        let mut grid = SimGrid::start_silent(1, 10).await;
        let (creator, stranger) =
            (grid.client_with("3/7/10", timeouts()).await, grid.client_with("3/7/10", timeouts()).await);
        let cold = grid.client_with("3/7/10", timeouts()).await;
        let cap = creator.create_slot(false, |_, _| Sections::default()).await.unwrap().cap;
        creator.edit_slot(&cap, &mut Add { id: 1, picky: false }).await.unwrap();
        let (label, proposer) = if warm { ("client1", &creator) } else { ("client3", &cold) };
        let mut edit = Add { id: 2, picky: false };
        let done = steps(limit, proposer.edit_slot(&cap, &mut edit)).await.is_some();
        grid.net.host_down(grid.client_host(label));
        let before = stranger.read_slot(&cap.to_read()).await.unwrap();
        assert_eq!(before.freshness, Freshness::Confirmed, "{limit} steps");
        stranger.edit_slot(&cap, &mut Add { id: 3, picky: false }).await.unwrap();
        let after = ids(&stranger.read_slot(&cap.to_read()).await.unwrap().sections);
        let made = after.contains(&2);
        assert_eq!(after, if made { vec![1, 2, 3] } else { vec![1, 3] }, "{limit} steps");
        assert!(made || !done && !ids(&before.sections).contains(&2), "{limit} steps");
        tokio::time::sleep(SECOND * 5).await;
        let later = stranger.read_slot(&cap.to_read()).await.unwrap();
        assert_eq!((ids(&later.sections), later.freshness), (after, Freshness::Confirmed), "{limit} steps");
        (done, made)
    })
}

#[test]
fn a_proposer_killed_at_every_step() {
    for warm in [true, false] {
        let mut fates = Vec::new();
        loop {
            fates.push(kill_after(fates.len(), warm));
            if fates.last().is_some_and(|(done, _)| *done) {
                break;
            }
            assert!(fates.len() < 500, "it is never done");
        }
        println!("warm {warm}: {} steps", fates.len() - 1);
        assert!(!fates[0].1 && fates.iter().any(|(done, made)| *made && !done), "{fates:?}");
    }
}
