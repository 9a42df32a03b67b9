//! Small helpers around CBOR: definite lengths only, a writer that counts, and fixed byte strings.

use std::convert::Infallible;

use minicbor::encode::Write;
use minicbor::{Decoder, Encoder};

use super::error::DirectoryError;

/// What writing into memory returns.
pub(super) type Written = Result<(), minicbor::encode::Error<Infallible>>;

/// The encoder of [`written`] and [`counted`].
pub(super) type Out<'a> = Encoder<&'a mut dyn Write<Error = Infallible>>;

struct Count(usize);

impl Write for Count {
    type Error = Infallible;

    fn write_all(&mut self, bytes: &[u8]) -> Result<(), Infallible> {
        self.0 += bytes.len();
        Ok(())
    }
}

/// What is written here, seen as a count of bytes and never as bytes.
pub(super) fn counted(write: impl FnOnce(&mut Out<'_>) -> Written) -> usize {
    let mut count = Count(0);
    let sink: &mut dyn Write<Error = Infallible> = &mut count;
    write(&mut Encoder::new(sink)).expect("counting cannot fail");
    count.0
}

/// What is written here, as bytes.
pub(super) fn written(write: impl FnOnce(&mut Out<'_>) -> Written) -> Vec<u8> {
    let mut out = Vec::new();
    let sink: &mut dyn Write<Error = Infallible> = &mut out;
    write(&mut Encoder::new(sink)).expect("writing to a Vec cannot fail");
    out
}

/// An array of exactly `len` items begins here.
pub(super) fn array_of(d: &mut Decoder<'_>, len: u64) -> Result<(), DirectoryError> {
    if d.array()? == Some(len) { Ok(()) } else { Err(DirectoryError::Malformed) }
}

/// The number of items of an array, each of which takes a byte or more.
pub(super) fn array_len(d: &mut Decoder<'_>) -> Result<usize, DirectoryError> {
    bounded(d.array()?, d)
}

/// The number of pairs of a map.
pub(super) fn map_len(d: &mut Decoder<'_>) -> Result<usize, DirectoryError> {
    bounded(d.map()?, d)
}

/// A count that the bytes that are left could hold.
fn bounded(len: Option<u64>, d: &Decoder<'_>) -> Result<usize, DirectoryError> {
    let left = d.input().len() - d.position();
    let len =
        usize::try_from(len.ok_or(DirectoryError::Malformed)?).map_err(|_| DirectoryError::Malformed)?;
    if len <= left { Ok(len) } else { Err(DirectoryError::Malformed) }
}

/// A byte string of exactly `N` bytes.
pub(super) fn fixed<const N: usize>(d: &mut Decoder<'_>) -> Result<[u8; N], DirectoryError> {
    d.bytes()?.try_into().map_err(|_| DirectoryError::Malformed)
}

/// Whether null stands here; if so it is taken.
pub(super) fn take_null(d: &mut Decoder<'_>) -> Result<bool, DirectoryError> {
    let null = d.datatype()? == minicbor::data::Type::Null;
    if null {
        d.null()?;
    }
    Ok(null)
}

/// Everything was read.
pub(super) fn finished(d: &Decoder<'_>) -> Result<(), DirectoryError> {
    if d.position() == d.input().len() { Ok(()) } else { Err(DirectoryError::Malformed) }
}
