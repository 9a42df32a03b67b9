//! Standard output, without the panic that `println!` ends in where it cannot be written.

use std::fmt;
use std::io::{self, Write};

use anyhow::Context;

/// Prints a line to standard output, or says why not. A reader that has seen enough is told apart in `report.rs`.
macro_rules! say {
    ($($arg:tt)*) => { $crate::out::line(format_args!($($arg)*)) };
}
pub(crate) use say;

/// See [`say`].
pub(crate) fn line(text: fmt::Arguments<'_>) -> anyhow::Result<()> {
    bytes(format!("{text}\n").as_bytes())
}

/// Writes to standard output.
pub(crate) fn bytes(bytes: &[u8]) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).context("standard output cannot be written")
}

/// Standard output for many lines: gathered, and written when there is a buffer full of them.
pub(crate) struct Lines(io::BufWriter<io::Stdout>);

impl Lines {
    /// Nothing written yet.
    pub(crate) fn new() -> Self {
        Self(io::BufWriter::with_capacity(64 * 1024, io::stdout()))
    }

    /// Adds text as it is.
    pub(crate) fn add(&mut self, text: fmt::Arguments<'_>) -> anyhow::Result<()> {
        self.0.write_fmt(text).context("standard output cannot be written")
    }

    /// Adds a line.
    pub(crate) fn line(&mut self, text: fmt::Arguments<'_>) -> anyhow::Result<()> {
        self.add(format_args!("{text}\n"))
    }

    /// Writes what is left.
    pub(crate) fn finish(mut self) -> anyhow::Result<()> {
        self.0.flush().context("standard output cannot be written")
    }
}
