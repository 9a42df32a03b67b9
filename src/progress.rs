//! Progress bars: on a terminal, for what takes longer than a second.

use std::io::IsTerminal;
use std::time::Duration;

use client::Transfer;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Runs `work` while a bar on stderr follows `transfer`; without a terminal, or with `quiet`, there is no bar.
pub(crate) async fn follow<T>(
    label: &'static str,
    transfer: &Transfer,
    quiet: bool,
    work: impl Future<Output = T>,
) -> T {
    let mut work = std::pin::pin!(work);
    if quiet || !std::io::stderr().is_terminal() {
        return work.await;
    }
    if let Ok(done) = tokio::time::timeout(Duration::from_secs(1), &mut work).await {
        return done;
    }
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    bar.set_message(label);
    let mut tick = tokio::time::interval(Duration::from_millis(200));
    loop {
        tokio::select! {
            done = &mut work => {
                bar.finish_and_clear();
                return done;
            }
            _ = tick.tick() => {
                let expected = transfer.expected();
                if expected > 0 && bar.length() != Some(expected) {
                    bar.set_length(expected);
                    bar.set_style(style("{msg} {bytes} of {total_bytes} [{wide_bar}] {bytes_per_sec}, {eta} left"));
                } else if expected == 0 {
                    bar.set_style(style("{msg} {bytes} {spinner} {bytes_per_sec}"));
                }
                bar.set_position(transfer.done());
            }
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the template is a constant and valid")
}
