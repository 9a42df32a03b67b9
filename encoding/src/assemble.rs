//! The file back from bare share files: the whole reader in one place, for recovery when no server runs.

use std::io;

use bytes::{Bytes, BytesMut};
use caps::{ImmutableRead, ReadKey, VerifyHash};

use crate::cells::ContentKey;
use crate::decoder::{DecodeError, SegmentDecoder};
use crate::descriptor::{CapError, Kind, SealedError};
use crate::share::{ShareCheck, ShareError, ShareReport};
use crate::tree::Root;

/// Why share files do not give a file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AssembleError {
    /// Fewer than k different intact shares of the object.
    #[error("{needed} different intact shares are needed, {found} were given")]
    NotEnoughShares {
        /// k, or 1 while no share of the object was seen.
        needed: u16,
        /// Different intact shares of the object.
        found: u16,
    },
    /// The cap is not this object's, or was altered.
    #[error(transparent)]
    Cap(#[from] CapError),
    /// The key is wrong, or the sealed part is.
    #[error(transparent)]
    Sealed(#[from] SealedError),
    /// An index of other objects, which this function does not follow.
    #[error("the object is an index of other objects; assemble those")]
    Tree,
    /// The shares do not belong together.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// A share file that was intact when it was checked could no longer be read, or changed since.
    #[error("share {number} can no longer be read")]
    Unreadable {
        /// Share number.
        number: u16,
        /// What the operating system says.
        source: io::Error,
    },
}

/// A share file, wherever it is.
#[allow(clippy::len_without_is_empty)] // `len` may fail, and an empty file is no special case.
pub trait ShareSource {
    /// How many bytes it has.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    fn len(&self) -> io::Result<u64>;

    /// Fills `buffer` from byte `offset` on.
    ///
    /// # Errors
    ///
    /// What the operating system says; [`io::ErrorKind::UnexpectedEof`] if there are not enough bytes.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;
}

impl ShareSource for Vec<u8> {
    fn len(&self) -> io::Result<u64> {
        Ok(self.as_slice().len() as u64)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(offset).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        let bytes = self.get(start..).and_then(|rest| rest.get(..buffer.len()));
        buffer.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

/// Checks one whole share file, without any key.
///
/// # Errors
///
/// [`ShareError`] says what is wrong with it.
pub fn check_share(source: &impl ShareSource) -> Result<ShareReport, ShareError> {
    ShareCheck::new(0).finish(source.len()?, |at, buffer| source.read_at(at, buffer))
}

/// Enough intact shares of one object, ready to be decoded segment by segment.
pub struct Assembly<S> {
    shares: Vec<(ShareReport, S)>,
    key: ContentKey,
    decoder: SegmentDecoder,
}

impl<S: ShareSource> Assembly<S> {
    /// Checks `sources` one after the other until k different intact shares of the cap's object are found. Those that are damaged or
    /// of other objects are passed over.
    ///
    /// # Errors
    ///
    /// [`AssembleError`].
    pub fn open(cap: &ImmutableRead, sources: impl IntoIterator<Item = S>) -> Result<Self, AssembleError> {
        let shares = gather(&cap.hash, cap.needed, sources);
        if let Some((first, _)) = shares.first() {
            first.descriptor.open_cap(cap)?;
        }
        Self::of(&cap.key, cap.needed, shares)
    }

    fn of(key: &ReadKey, needed: u16, shares: Vec<(ShareReport, S)>) -> Result<Self, AssembleError> {
        let found = shares.len() as u16;
        let Some((first, _)) = shares.first() else {
            return Err(AssembleError::NotEnoughShares { needed, found });
        };
        let descriptor = &first.descriptor;
        let (id, _) = descriptor.open(key)?;
        let needed = descriptor.geometry.params().needed();
        if descriptor.kind == Kind::Tree {
            return Err(AssembleError::Tree);
        }
        if found < needed {
            return Err(AssembleError::NotEnoughShares { needed, found });
        }
        let decoder = SegmentDecoder::new(descriptor.geometry);
        Ok(Self { key: ContentKey::new(&id), decoder, shares })
    }

    /// How many segments there are.
    pub fn segments(&self) -> u64 {
        self.shares[0].0.descriptor.geometry.segments()
    }

    /// The bytes of one segment, in pieces.
    ///
    /// # Errors
    ///
    /// [`AssembleError::Decode`], [`AssembleError::Unreadable`].
    pub fn segment(&mut self, index: u64) -> Result<Vec<Bytes>, AssembleError> {
        let needed = self.shares[0].0.descriptor.geometry.params().needed();
        let mut roots: Vec<Root> = Vec::new();
        for column in 0..needed {
            let mut root = Root::default();
            let (report, source) = &self.shares[0];
            read(report, source, report.layout.column(column).start + index * 32, &mut root)?;
            roots.push(root);
        }
        let mut blocks = Vec::new();
        for (report, source) in self.shares.iter().take(needed.into()) {
            let range = report.layout.block(index);
            let mut block = BytesMut::zeroed((range.end - range.start) as usize);
            read(report, source, range.start, &mut block)?;
            blocks.push((report.number, block));
        }
        Ok(self.decoder.decode(&self.key, index, blocks, &roots)?)
    }
}

fn read(
    report: &ShareReport,
    source: &impl ShareSource,
    at: u64,
    buffer: &mut [u8],
) -> Result<(), AssembleError> {
    source.read_at(at, buffer).map_err(|source| AssembleError::Unreadable { number: report.number, source })
}

fn gather<S: ShareSource>(
    hash: &VerifyHash,
    mut needed: u16,
    sources: impl IntoIterator<Item = S>,
) -> Vec<(ShareReport, S)> {
    let mut shares: Vec<(ShareReport, S)> = Vec::new();
    for source in sources {
        let Ok(report) = check_share(&source) else { continue };
        if report.hash == *hash && shares.iter().all(|(known, _)| known.number != report.number) {
            needed = report.descriptor.geometry.params().needed();
            shares.push((report, source));
        }
        if shares.len() >= needed.into() {
            break;
        }
    }
    shares
}

/// Puts the file together from share files held in memory. Files that are damaged or of other objects are passed over.
///
/// # Errors
///
/// [`AssembleError`].
pub fn assemble(key: &ReadKey, hash: &VerifyHash, files: &[Vec<u8>]) -> Result<Vec<u8>, AssembleError> {
    let mut assembly = Assembly::of(key, 1, gather(hash, u16::MAX, files.iter().cloned()))?;
    let mut out = Vec::new();
    for index in 0..assembly.segments() {
        assembly.segment(index)?.iter().for_each(|piece| out.extend_from_slice(piece));
    }
    Ok(out)
}
