//! Share files that the index does not know: a crash between the naming of a file and the transaction leaves them.

use std::io;

use caps::VerifyHash;
use encoding::{ShareCheck, ShareError};
use protocol::NodeId;
use protocol::message::StoreState;

use crate::disk::OpenMode;
use crate::index::{IndexResult, Location, Place, Reason, ShareKey};
use crate::store::{Store, lock};

impl Store {
    /// Looks for strays through one directory of share files, or then of groups, the `step`th; says no once there are no more. A stray that
    /// is intact is taken in, without a lease: should the index be an old one, nothing is lost. One that is not goes into quarantine.
    pub fn sweep(&self, step: usize) -> bool {
        if self.state() != StoreState::Writable {
            return false;
        }
        self.sweep_dir(step).unwrap_or_else(|error| {
            tracing::warn!(store = %self.id(), %error, "cannot look for stray share files");
            false
        })
    }

    fn sweep_dir(&self, step: usize) -> io::Result<bool> {
        let mut dirs = self.disk.list("shares")?;
        dirs.retain(|entry| entry.is_dir);
        dirs.sort_by(|a, b| a.name.cmp(&b.name));
        let Some(dir) = dirs.get(step) else { return self.sweep_groups(step - dirs.len()) };
        for entry in self.disk.list(&format!("shares/{}", dir.name))? {
            let Some(key) = parse_name(&entry.name) else { continue };
            if matches!(self.index().get(key), Ok(None)) {
                self.take_in(key, &format!("shares/{}/{}", dir.name, entry.name), &entry.name)?;
            }
        }
        Ok(true)
    }

    fn take_in(&self, key: ShareKey, path: &str, name: &str) -> io::Result<()> {
        let file = match self.disk.open(path, OpenMode::Read) {
            // Gone already, by another name or another hand.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
        let len = file.len()?;
        let location = match ShareCheck::new(1).finish(len, |at, buffer| file.read_exact_at(buffer, at)) {
            Ok(report) if report.hash == key.hash && report.number == key.number => Location {
                place: Place::File,
                len,
                ciphertext_len: report.descriptor.geometry.ciphertext_len(),
                bucket: report.descriptor.bucket.0,
            },
            Err(ShareError::Io(error)) => return Err(error),
            _ => {
                let _writer = lock(&self.writer);
                if !self.is_stray(key, path)? {
                    return Ok(());
                }
                tracing::error!(store = %self.id(), share = %key, "a stray share is not intact: it goes into quarantine");
                return self.disk.rename(path, &format!("quarantine/{name}"));
            }
        };
        // Nothing is being committed meanwhile: what was is no longer a stray.
        let _writer = lock(&self.writer);
        if !self.is_stray(key, path)? {
            return Ok(());
        }
        match self.adopt(key, &location) {
            Ok(()) => {
                tracing::info!(store = %self.id(), share = %key, "took in a share that a crash had left")
            }
            Err(error) => drop(self.index_error("take in a stray share", *error)),
        }
        Ok(())
    }

    /// Whether the file is still there, and still without a row: it may have been one whose object was just then collected.
    fn is_stray(&self, key: ShareKey, path: &str) -> io::Result<bool> {
        let known = !matches!(self.index().get(key), Ok(None));
        match self.disk.open(path, OpenMode::Read) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            opened => opened.map(|_| !known),
        }
    }

    fn adopt(&self, key: ShareKey, location: &Location) -> IndexResult<()> {
        let index = self.index();
        let uptime_s = self.uptime_s();
        let (totals, charges) = index.write(|rows| {
            rows.totals.uptime_s = rows.totals.uptime_s.max(uptime_s);
            let found = (rows.totals.uptime_s.saturating_add(self.idle_s()), Reason::NeverLeased);
            let (due, reason) = rows.spare(key.hash)?.unwrap_or(found);
            rows.add_share(key, location)?;
            rows.doom(key.hash, reason, due)?;
            Ok((rows.totals, rows.charges()?))
        })?;
        self.set_totals(totals);
        if let Some(ledger) = self.ledger.get() {
            ledger.settle(self, &charges, &[]);
        }
        self.collector.changed();
        Ok(())
    }
}

/// The share that a file of this name holds.
pub(crate) fn parse_name(name: &str) -> Option<ShareKey> {
    let (hash, number) = name.split_once('.')?;
    let hash = hash.parse::<NodeId>().ok()?;
    Some(ShareKey { hash: VerifyHash::new(*hash.as_bytes()), number: number.parse().ok()? })
}
