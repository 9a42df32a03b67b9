//! How a gateway ends: what is under way has a while, and a second signal ends that.

use std::io;
use std::pin::pin;
use std::time::Duration;

use gateway::Gateway;
use tokio::sync::oneshot;
use tokio::time::sleep;

use crate::cmd::signals::Signals;
use crate::sizes::plural;

/// What ends within this time was not worth a word.
const SHORT: Duration = Duration::from_millis(250);

/// Serves until a signal comes, then until all is done that was under way or another signal comes. `stop` tells `serving`, which waits for
/// `patience` then.
///
/// # Errors
///
/// Those of `serving`.
pub(super) async fn serve_until(
    mut signals: Signals,
    gateway: &Gateway,
    serving: impl Future<Output = io::Result<usize>>,
    (stop, patience): (oneshot::Sender<()>, Duration),
    quiet: bool,
) -> io::Result<()> {
    let mut serving = pin!(serving);
    tokio::select! {
        done = &mut serving => return done.map(drop),
        () = signals.next() => {}
    }
    // It listens as long as it serves.
    let _ = stop.send(());
    let again = async {
        sleep(SHORT).await;
        if !quiet {
            let requests = plural(gateway.under_way() as u64, "request");
            let seconds = patience.as_secs();
            eprintln!(
                "stopping: {requests} under way, waited for up to {seconds} s; Ctrl-C again ends it at once"
            );
        }
        signals.next().await;
    };
    let given_up = tokio::select! {
        done = &mut serving => done?,
        () = again => gateway.under_way(),
    };
    if given_up > 0 && !quiet {
        eprintln!("{} given up", plural(given_up as u64, "request"));
    }
    Ok(())
}
