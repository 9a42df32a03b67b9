//! Small objects in memory, honest or not, and the two ways to check a share.

use std::io;

use bytes::Bytes;
use encoding::{
    BLOCK_LEN, ContentKey, EncodedObject, EncodedSegment, Kind, ObjectBuilder, ObjectId, Params,
    SegmentEncoder, ShareCheck, ShareError, ShareReport, block_root,
};

/// An object with all its share files.
pub struct Sample {
    /// K and salt.
    pub id: ObjectId,
    /// Everything but the blocks.
    pub object: EncodedObject,
    /// The share files, by number.
    pub files: Vec<Vec<u8>>,
}

impl Sample {
    /// The object of `plain` (one segment at most). `meddle` may change the blocks before they are committed to.
    pub fn new(params: Params, plain: &[u8], meddle: impl FnOnce(&mut Vec<Bytes>)) -> Self {
        let hash = blake3::hash(plain);
        let id = ObjectId::convergent(&[7; 32], params, Kind::Direct, plain.len() as u64, hash.as_bytes());
        let mut segment: EncodedSegment = SegmentEncoder::new(params)
            .encode(&ContentKey::new(&id), 0, plain, true)
            .expect("the plaintext fits into one segment");
        meddle(&mut segment.blocks);
        segment.roots = segment.blocks.iter().map(|block| block_root(block)).collect();
        let mut builder = ObjectBuilder::new(params, Kind::Direct, &id);
        builder.add(&segment).expect("it is the first segment");
        let object = builder.finish(plain.len() as u64, hash.as_bytes()).expect("one segment was added");
        let file =
            |number: u16| [&segment.blocks[usize::from(number)][..], &object.trailer(number)[..]].concat();
        let files = (0..params.total()).map(file).collect();
        Self { id, object, files }
    }
}

/// Checks a share as a server does that hashed its blocks while they came in.
pub fn check_pushed(file: &[u8]) -> Result<ShareReport, ShareError> {
    let mut check = ShareCheck::new(BLOCK_LEN);
    file.chunks(BLOCK_LEN as usize).for_each(|piece| check.push(piece));
    check.finish(file.len() as u64, reader(file))
}

/// Checks a share as a reader does that finds it on a disk.
pub fn check_read(file: &[u8]) -> Result<ShareReport, ShareError> {
    ShareCheck::new(0).finish(file.len() as u64, reader(file))
}

fn reader(file: &[u8]) -> impl FnMut(u64, &mut [u8]) -> io::Result<()> {
    move |at, buffer| {
        let bytes = file.get(at as usize..).and_then(|rest| rest.get(..buffer.len()));
        buffer.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}
