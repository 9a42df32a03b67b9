//! Were these concurrent calls as if done one after another? Linearizability (Herlihy, Wing 1990) of recorded histories.
//!
//! - [`set`] judges, exactly and in n log n, histories of a value to which operations are added and which is read whole: what a slot is.
//! - [`search`] judges small histories against any sequential model, by trying all orders (Wing, Gong 1993; memory after Lowe 2017).
//! - [`names`] is such a model: a directory with puts, removals and renames.
//!
//! Moments are ticks of a [`Recorder`], which counts; simulated time stands still too often to tell what came first.

pub mod names;
pub mod search;
pub mod set;

#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU64, Ordering};

/// Gives out moments: each is later than those before it.
#[derive(Debug, Default)]
pub struct Recorder(AtomicU64);

impl Recorder {
    /// The next moment. Take one before a call begins and one after it returned.
    pub fn tick(&self) -> u64 {
        self.0.fetch_add(1, Ordering::SeqCst)
    }
}
