//! From bytes to shares and back: cells, segments, the erasure code, hash trees, the descriptor and the share file.
//!
//! `docs/spec/objects.md` is the authority on every byte. The path of a file, and the module that walks each stretch of it:
//!
//! ```text
//! plaintext --keys--> K, salt --cells--> ciphertext --geometry--> segments of k blocks --erasure--> + N-k parity blocks
//!           --tree--> block roots, share roots --descriptor--> H --share--> N share files
//! ```
//!
//! A round trip through memory:
//!
//! ```
//! use encoding::{ContentKey, Kind, ObjectBuilder, ObjectId, Params, SegmentEncoder, assemble};
//!
//! let params = Params::new(3, 10)?;
//! let id = ObjectId::convergent(&[7; 32], params, Kind::Direct, 5000, blake3::hash(&[42; 5000]).as_bytes());
//! let mut encoder = SegmentEncoder::new(params);
//! let mut object = ObjectBuilder::new(params, Kind::Direct, &id);
//! let segment = encoder.encode(&ContentKey::new(&id), 0, &[42; 5000], true)?;
//! object.add(&segment)?;
//! let encoded = object.finish(5000, blake3::hash(&[42; 5000]).as_bytes())?;
//!
//! // Any three share files and the key give the file back.
//! let files: Vec<Vec<u8>> = [9, 0, 4].map(|n| [&segment.blocks[n as usize][..], &encoded.trailer(n)[..]].concat()).into();
//! assert_eq!(assemble(&id.key, &encoded.hash, &files)?, vec![42; 5000]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Deliberately absent: I/O, clocks, global randomness, threads, and any trust in a length that a server states.

mod assemble;
mod buffer;
mod cells;
mod children;
mod chunker;
mod decoder;
mod descriptor;
pub mod directory;
mod encoder;
mod erasure;
mod file_index;
mod geometry;
mod groups;
mod keys;
mod matrix;
mod mend;
mod sample;
mod sections;
mod share;
mod tree;

pub mod slot;

pub use assemble::{AssembleError, Assembly, ShareSource, assemble, check_share};
pub use buffer::zeroed;
pub use cells::{CELL_DATA_LEN, CELL_LEN, CellError, ContentKey, TAG_LEN};
pub use children::{Children, ChildrenError, MAX_CHILDREN, child_of, repair_immutable, repair_slot};
pub use chunker::{CUT_HORIZON, Chunker, GearTable, MAX_CHUNK_LEN, MIN_CHUNK_LEN};
pub use decoder::{DecodeError, SegmentDecoder};
pub use descriptor::{
    CapError, Descriptor, DescriptorError, Extension, Kind, MAX_DESCRIPTOR_LEN, Sealed, SealedError,
};
pub use encoder::{EncodeError, EncodedObject, EncodedSegment, ObjectBuilder, SegmentEncoder};
pub use erasure::{ErasureDecoder, ErasureEncoder, ErasureError};
pub use file_index::{
    Added, FileIndexError, Finished, IndexBuilder, IndexChild, IndexNode, MAX_FAN_OUT, MAX_INDEX_LEVEL,
};
pub use geometry::{BLOCK_LEN, Geometry, GeometryError, MAX_PLAINTEXT_LEN, Params};
pub use groups::block_groups;
pub use keys::ObjectId;
pub use mend::{MendError, ShareMender};
pub use sample::{CHUNK_LEN, Sampled, SampledShare};
pub use sections::{
    MAX_SLOT_SECTIONS_LEN, SLOT_PAYLOAD_LENS, SectionError, Sections, open_slot, open_slot_children,
    open_tree, seal_slot, seal_tree, tree_children, tree_hash,
};
pub use share::{FOOTER_LEN, Footer, ShareCheck, ShareError, ShareLayout, ShareReport};
pub use tree::{GROUP_LEN, Root, SliceError, block_root, column_root, open_slice, slice, slice_len_max};
