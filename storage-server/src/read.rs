//! Reading shares, and proving that they are here.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use caps::VerifyHash;
use encoding::{Descriptor, FOOTER_LEN, Footer, ShareCheck, ShareError, ShareLayout, slice};

use crate::disk::{DiskFile, OpenMode};
use crate::error::ReadError;
use crate::index::{Location, Place, ShareKey};
use crate::pack::{HEADER_LEN, Record, record_len};
use crate::store::Store;

/// Bytes of slices that one answer may have.
pub const MAX_SLICES_LEN: u64 = 16 * 1024 * 1024;
/// Columns longer than this are not sliced here: it takes all of a column in memory to do so.
pub(crate) const MAX_COLUMN_LEN: u64 = 32 * 1024 * 1024;
/// Read at once from the end of a share: footer, and descriptors up to about N = 24.
const TAIL_LEN: u64 = 1024;
/// Bytes that [`Proof::step`] hashes.
const PROOF_STEP: u64 = 16 * 1024 * 1024;

/// The path of a large share's file.
pub(crate) fn share_path(key: ShareKey) -> String {
    let name = key.to_string();
    format!("shares/{}/{name}", &name[..2])
}

/// A share that is here, open for reading.
pub struct StoredShare {
    key: ShareKey,
    len: u64,
    source: Source,
}

pub(crate) enum Source {
    Memory(Bytes),
    File(Arc<dyn DiskFile>),
}

/// One share of an object, as a store lists it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Listed {
    /// Share number.
    pub number: u16,
    /// Bytes of the share file.
    pub len: u64,
}

impl Store {
    /// Which shares of an object are here, by number.
    ///
    /// # Errors
    ///
    /// [`ReadError::Index`].
    pub fn list(&self, hash: VerifyHash) -> Result<Vec<Listed>, ReadError> {
        let rows = self.index().of_object(hash)?;
        Ok(rows.into_iter().map(|(number, location)| Listed { number, len: location.len }).collect())
    }

    /// The numbers of the shares that are here of each of these objects.
    pub(crate) fn numbers_of(&self, hashes: &[VerifyHash]) -> Result<Vec<Vec<u16>>, ReadError> {
        Ok(self.index().numbers_of(hashes)?)
    }

    /// Leases of one account.
    pub(crate) fn leases_of(&self, wanted: &crate::index::Wanted) -> Result<crate::index::Listed, ReadError> {
        Ok(self.index().leases_of(wanted)?)
    }

    /// For each length: are there objects of this bucket and ciphertext length?
    ///
    /// # Errors
    ///
    /// [`ReadError::Index`].
    pub fn has_lengths(&self, bucket: u16, lengths: &[u64]) -> Result<Vec<bool>, ReadError> {
        Ok(self.index().has_lengths(bucket, lengths)?)
    }

    /// Opens a share. Small ones are read and checked at once.
    ///
    /// # Errors
    ///
    /// [`ReadError`].
    pub fn open_share(&self, key: ShareKey) -> Result<StoredShare, ReadError> {
        let mut location = self.index().get(key)?.ok_or(ReadError::NotFound)?;
        let mut opened = self.open_at(key, &location);
        while let Err(ReadError::Corrupt) = opened {
            // It may have gone meanwhile, or lie in another pack by now.
            let now = self.index().get(key)?.ok_or(ReadError::NotFound)?;
            if now == location {
                break;
            }
            location = now;
            opened = self.open_at(key, &location);
        }
        let source = opened.inspect_err(|error| {
            let error = crate::store::chain(error);
            tracing::error!(store = %self.id(), share = %key, %error, "a stored share cannot be read");
        })?;
        Ok(StoredShare { key, len: location.len, source })
    }

    pub(crate) fn open_at(&self, key: ShareKey, location: &Location) -> Result<Source, ReadError> {
        match location.place {
            Place::Pack { pack, offset } => self.read_record(key, location, pack, offset).map(Source::Memory),
            Place::File => self.open_file(key, location).map(Source::File),
        }
    }

    fn read_record(
        &self,
        key: ShareKey,
        location: &Location,
        pack: u32,
        offset: u32,
    ) -> Result<Bytes, ReadError> {
        let len = usize::try_from(location.len).map_err(|_| ReadError::Corrupt)?;
        if record_len(len) > HEADER_LEN as u64 + crate::MAX_PACKED_LEN {
            return Err(ReadError::Corrupt);
        }
        let mut record = vec![0; HEADER_LEN + len];
        self.pack_file(pack).and_then(|file| file.read_exact_at(&mut record, offset.into())).map_err(gone)?;
        let header = record.first_chunk().and_then(Record::parse).ok_or(ReadError::Corrupt)?;
        if header.key != key || !header.matches(&record[HEADER_LEN..]) {
            return Err(ReadError::Corrupt);
        }
        Ok(Bytes::from(record).slice(HEADER_LEN..))
    }

    fn open_file(&self, key: ShareKey, location: &Location) -> Result<Arc<dyn DiskFile>, ReadError> {
        let file = self.disk.open(&share_path(key), OpenMode::Read).map_err(gone)?;
        if file.len()? != location.len {
            return Err(ReadError::Corrupt);
        }
        Ok(file)
    }
}

/// What the index knows and the medium does not was lost: that is corruption, not absence.
pub(crate) fn gone(error: io::Error) -> ReadError {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof => ReadError::Corrupt,
        _ => error.into(),
    }
}

impl StoredShare {
    pub(crate) fn new(key: ShareKey, len: u64, source: Source) -> Self {
        Self { key, len, source }
    }

    pub(crate) fn key(&self) -> ShareKey {
        self.key
    }

    pub(crate) fn number(&self) -> u16 {
        self.key.number
    }

    /// The file it has for itself, if it has one.
    pub(crate) fn file(&self) -> Option<Arc<dyn DiskFile>> {
        match &self.source {
            Source::Memory(_) => None,
            Source::File(file) => Some(file.clone()),
        }
    }

    /// Whether it came out of a pack, whole and checked.
    pub(crate) fn in_pack(&self) -> bool {
        matches!(self.source, Source::Memory(_))
    }

    /// Bytes of the share file.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether it has no bytes; no share has none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of the share file from `offset` on.
    ///
    /// # Errors
    ///
    /// [`ReadError::OutOfRange`], [`ReadError::Io`], [`ReadError::Corrupt`].
    pub fn read(&self, offset: u64, len: usize) -> Result<Bytes, ReadError> {
        let end = offset.checked_add(len as u64).filter(|end| *end <= self.len);
        let end = end.ok_or(ReadError::OutOfRange { what: "range" })?;
        match &self.source {
            Source::Memory(bytes) => Ok(bytes.slice(offset as usize..end as usize)),
            Source::File(file) => {
                let mut buffer = encoding::zeroed(len);
                file.read_exact_at(&mut buffer, offset).map_err(gone)?;
                Ok(buffer.into())
            }
        }
    }

    /// The same into a buffer, all of it.
    pub(crate) fn read_into(&self, offset: u64, buffer: &mut [u8]) -> Result<(), ReadError> {
        match &self.source {
            Source::Memory(bytes) => Ok(crate::upload::read_slice(bytes, offset, buffer).map_err(gone)?),
            Source::File(file) => file.read_exact_at(buffer, offset).map_err(gone),
        }
    }

    /// The descriptor's bytes, which are what H commits to, and where everything lies.
    ///
    /// # Errors
    ///
    /// [`ReadError`].
    pub fn descriptor(&self) -> Result<(Bytes, ShareLayout), ReadError> {
        let tail_len = self.len.min(TAIL_LEN);
        let tail = self.read(self.len - tail_len, tail_len as usize)?;
        let footer = tail.last_chunk::<FOOTER_LEN>().ok_or(ReadError::Corrupt)?;
        let footer = Footer::parse(footer).map_err(|_| ReadError::Corrupt)?;
        let wanted = u64::from(footer.descriptor_len) + FOOTER_LEN as u64;
        let start = self.len.checked_sub(wanted).ok_or(ReadError::Corrupt)?;
        let descriptor_len = footer.descriptor_len as usize;
        let bytes = match tail_len.checked_sub(wanted) {
            Some(at) => tail.slice(at as usize..at as usize + descriptor_len),
            None => self.read(start, descriptor_len)?,
        };
        if Descriptor::hash(&bytes) != self.key.hash || footer.number != self.key.number {
            return Err(ReadError::Corrupt);
        }
        let descriptor = Descriptor::parse(&bytes).map_err(|_| ReadError::Corrupt)?;
        let layout = ShareLayout::new(descriptor.geometry, footer.number, footer.descriptor_len);
        if layout.file_len() != self.len {
            return Err(ReadError::Corrupt);
        }
        Ok((bytes, layout))
    }

    /// Slices of columns of the table: the roots of `count` blocks from `first` on, with their proofs.
    ///
    /// # Errors
    ///
    /// [`ReadError`].
    pub fn table_slices(&self, columns: &[u16], first: u64, count: u64) -> Result<Vec<Bytes>, ReadError> {
        self.table_slices_within(columns, first, count, |_| Ok(()))
    }

    /// The same; before anything large is read, `room` is asked for that many bytes.
    pub(crate) fn table_slices_within<E: From<ReadError>>(
        &self,
        columns: &[u16],
        first: u64,
        count: u64,
        room: impl FnOnce(u64) -> Result<(), E>,
    ) -> Result<Vec<Bytes>, E> {
        let (descriptor, layout) = self.descriptor()?;
        let descriptor = Descriptor::parse(&descriptor).map_err(|_| ReadError::Corrupt)?;
        let segments = descriptor.geometry.segments();
        let end = first.checked_add(count).filter(|end| count > 0 && *end <= segments);
        let end = end.ok_or(ReadError::OutOfRange { what: "segments" })?;
        let column_len = descriptor.geometry.column_len();
        if column_len > MAX_COLUMN_LEN {
            return Err(ReadError::TooLarge { len: column_len, max: MAX_COLUMN_LEN }.into());
        }
        let range = first * 32..end * 32;
        let len = encoding::slice_len_max(column_len, &range).saturating_mul(columns.len() as u64);
        if len > MAX_SLICES_LEN.max(encoding::slice_len_max(column_len, &range)) {
            return Err(ReadError::TooLarge { len, max: MAX_SLICES_LEN }.into());
        }
        room(column_len.saturating_add(len))?;
        let held: Vec<u16> = layout.columns().collect();
        let slices = columns.iter().map(|column| -> Result<Bytes, E> {
            if !held.contains(column) {
                return Err(ReadError::OutOfRange { what: "column" }.into());
            }
            let bytes = self.read(layout.column(*column).start, column_len as usize)?;
            Ok(slice(&bytes, range.clone()).into())
        });
        slices.collect()
    }

    /// A slice of one block, with its proof.
    ///
    /// # Errors
    ///
    /// [`ReadError`].
    pub fn block_slice(&self, segment: u64, start: u32, end: u32) -> Result<Bytes, ReadError> {
        let (descriptor, layout) = self.descriptor()?;
        let descriptor = Descriptor::parse(&descriptor).map_err(|_| ReadError::Corrupt)?;
        if segment >= descriptor.geometry.segments() {
            return Err(ReadError::OutOfRange { what: "block" });
        }
        let range = layout.block(segment);
        let len = range.end - range.start;
        if start >= end || u64::from(end) > len {
            return Err(ReadError::OutOfRange { what: "range" });
        }
        let block = self.read(range.start, len as usize)?;
        Ok(slice(&block, start.into()..end.into()).into())
    }

    /// Where `count` blocks from `first` on lie.
    ///
    /// # Errors
    ///
    /// [`ReadError`].
    pub fn blocks(&self, first: u64, count: u32) -> Result<Vec<std::ops::Range<u64>>, ReadError> {
        let (descriptor, layout) = self.descriptor()?;
        let descriptor = Descriptor::parse(&descriptor).map_err(|_| ReadError::Corrupt)?;
        let end = first.checked_add(count.into()).filter(|end| *end <= descriptor.geometry.segments());
        let end = end.filter(|_| count > 0).ok_or(ReadError::OutOfRange { what: "blocks" })?;
        Ok((first..end).map(|index| layout.block(index)).collect())
    }

    /// A proof that all of the share is here and intact: its BLAKE3 hash, keyed with a nonce of the asker's.
    ///
    /// # Errors
    ///
    /// [`ReadError`].
    pub fn proof(self, nonce: &[u8; 32]) -> Result<Proof, ReadError> {
        let (mut check, mut block_len) = (None, self.len.max(1) as usize);
        // What came out of a pack was checked when it was read.
        if !self.in_pack() {
            let (descriptor, _) = self.descriptor()?;
            let descriptor = Descriptor::parse(&descriptor).map_err(|_| ReadError::Corrupt)?;
            let len = descriptor.geometry.params().block_len();
            (check, block_len) = (Some(ShareCheck::new(len)), len as usize);
        }
        Ok(Proof { share: self, hasher: blake3::Hasher::new_keyed(nonce), check, block_len, done: 0 })
    }
}

/// A proof under way.
pub struct Proof {
    share: StoredShare,
    hasher: blake3::Hasher,
    check: Option<ShareCheck>,
    block_len: usize,
    done: u64,
}

impl Proof {
    /// Whether there is a file to read through.
    pub fn is_long(&self) -> bool {
        self.check.is_some()
    }

    /// Bytes that [`Proof::step`] has in memory at once.
    pub fn buffer_len(&self) -> u64 {
        self.block_len as u64
    }

    /// Hashes some of the share; returns the proof once all of it is, and was found intact.
    ///
    /// # Errors
    ///
    /// [`ReadError`]; [`ReadError::Corrupt`] if it fails its own hashes.
    pub fn step(&mut self) -> Result<Option<[u8; 32]>, ReadError> {
        let end = self.share.len.min(self.done + PROOF_STEP);
        while self.done < end {
            let piece = self.share.read(self.done, (end - self.done).min(self.block_len as u64) as usize)?;
            self.hasher.update(&piece);
            if let Some(check) = &mut self.check {
                check.push(&piece);
            }
            self.done += piece.len() as u64;
        }
        if self.done < self.share.len {
            return Ok(None);
        }
        if let (Some(check), Source::File(file)) = (self.check.take(), &self.share.source) {
            match check.finish(self.share.len, |at, buffer| file.read_exact_at(buffer, at)) {
                Ok(report)
                    if report.hash == self.share.key.hash && report.number == self.share.key.number => {}
                Err(ShareError::Io(error)) => return Err(gone(error)),
                _ => return Err(ReadError::Corrupt),
            }
        }
        Ok(Some(*self.hasher.finalize().as_bytes()))
    }
}
