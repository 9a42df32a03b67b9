//! The file back from bare share files: the whole reader in one place, for recovery when no server runs.

use bytes::BytesMut;
use caps::{ReadKey, VerifyHash};

use crate::cells::ContentKey;
use crate::decoder::{DecodeError, SegmentDecoder};
use crate::descriptor::{Kind, SealedError};
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
    /// The key is wrong, or the sealed part is.
    #[error(transparent)]
    Sealed(#[from] SealedError),
    /// An index of other objects, which this function does not follow.
    #[error("the object is an index of other objects; assemble those")]
    Tree,
    /// The shares do not belong together.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

/// Puts the file together from share files held in memory. Files that are damaged or of other objects are passed over.
///
/// # Errors
///
/// [`AssembleError`].
pub fn assemble(key: &ReadKey, hash: &VerifyHash, files: &[Vec<u8>]) -> Result<Vec<u8>, AssembleError> {
    let mut shares: Vec<(ShareReport, &[u8])> = Vec::new();
    for file in files {
        let Ok(report) = check(file) else { continue };
        if report.hash == *hash && shares.iter().all(|(known, _)| known.number != report.number) {
            shares.push((report, file));
        }
    }
    let found = shares.len() as u16;
    let Some((first, file)) = shares.first() else {
        return Err(AssembleError::NotEnoughShares { needed: 1, found });
    };
    let descriptor = &first.descriptor;
    let (id, _) = descriptor.open(key)?;
    let params = descriptor.geometry.params();
    if descriptor.kind == Kind::Tree {
        return Err(AssembleError::Tree);
    }
    if found < params.needed() {
        return Err(AssembleError::NotEnoughShares { needed: params.needed(), found });
    }
    let content_key = ContentKey::new(&id);
    let mut decoder = SegmentDecoder::new(descriptor.geometry);
    let mut out = Vec::new();
    for segment in 0..descriptor.geometry.segments() {
        let root = |column: u16| -> Root {
            let at = first.layout.column(column).start as usize + segment as usize * 32;
            file[at..at + 32].try_into().expect("a root has 32 bytes")
        };
        let data_roots: Vec<Root> = (0..params.needed()).map(root).collect();
        let blocks = shares.iter().take(params.needed().into()).map(|(report, file)| {
            let range = report.layout.block(segment);
            (report.number, BytesMut::from(&file[range.start as usize..range.end as usize]))
        });
        for piece in decoder.decode(&content_key, segment, blocks.collect(), &data_roots)? {
            out.extend_from_slice(&piece);
        }
    }
    Ok(out)
}

fn check(file: &[u8]) -> Result<ShareReport, ShareError> {
    let read_at = |at: u64, buffer: &mut [u8]| {
        let at = at as usize;
        let bytes = file.get(at..at + buffer.len()).ok_or(std::io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(bytes);
        Ok(())
    };
    ShareCheck::new(0).finish(file.len() as u64, read_at)
}
