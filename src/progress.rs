//! Progress bars: on a terminal, for what takes longer than a second.

use std::io::IsTerminal;
use std::time::Duration;

use client::Transfer;
use client::copy::TreeProgress;
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

/// Runs `work` while a bar on stderr follows `tree`; `count` finds out beside it how much there is to do, for the bar alone.
pub(crate) async fn follow_tree<T>(
    label: &'static str,
    tree: &TreeProgress,
    quiet: bool,
    count: impl Future<Output = ()>,
    work: impl Future<Output = T>,
) -> T {
    let mut work = std::pin::pin!(work);
    if quiet || !std::io::stderr().is_terminal() {
        return work.await;
    }
    let mut count = std::pin::pin!(count);
    let mut counted = false;
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    bar.set_message(label);
    let mut tick = tokio::time::interval(Duration::from_millis(200));
    tick.tick().await;
    loop {
        tokio::select! {
            done = &mut work => {
                bar.finish_and_clear();
                return done;
            }
            () = &mut count, if !counted => counted = true,
            _ = tick.tick() => {
                let ((entries, bytes), (all, expected)) = (tree.done(), tree.expected());
                let counts = format!("{label}: {entries} of {all} entries");
                if counted && expected > 0 {
                    bar.set_message(counts);
                    bar.set_length(expected.max(bytes));
                    bar.set_style(style("{msg}, {bytes} of {total_bytes} [{wide_bar}] {bytes_per_sec}, {eta} left"));
                } else {
                    bar.set_message(format!("{label}: {entries} entries"));
                    bar.set_style(style("{msg}, {bytes} {spinner} {bytes_per_sec}"));
                }
                bar.set_position(bytes);
            }
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the template is a constant and valid")
}
