//! The share file: blocks, table of block roots, descriptor, footer; and how it certifies itself without any key.

use std::io;
use std::ops::Range;

use caps::VerifyHash;

use crate::descriptor::{Descriptor, DescriptorError, FORMAT_VERSION, MAX_DESCRIPTOR_LEN};
use crate::geometry::Geometry;
use crate::tree::{Root, block_root, column_root};

/// Bytes of the footer, which ends every share file.
pub const FOOTER_LEN: usize = 16;
const MAGIC: [u8; 8] = *b"SarsenSh";

/// The end of a share file: where to begin reading it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Footer {
    /// Share number, 0..N.
    pub number: u16,
    /// Bytes of the descriptor that stands before the footer.
    pub descriptor_len: u32,
}

impl Footer {
    /// The bytes.
    pub fn to_bytes(self) -> [u8; FOOTER_LEN] {
        let mut out = [0; FOOTER_LEN];
        out[..2].copy_from_slice(&self.number.to_le_bytes());
        out[2..4].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        out[4..8].copy_from_slice(&self.descriptor_len.to_le_bytes());
        out[8..].copy_from_slice(&MAGIC);
        out
    }

    /// Parses a footer.
    ///
    /// # Errors
    ///
    /// [`ShareError::NotAShare`], [`ShareError::Version`], or [`ShareError::Descriptor`] for an absurd descriptor length.
    pub fn parse(bytes: &[u8; FOOTER_LEN]) -> Result<Self, ShareError> {
        let word = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        if bytes[8..] != MAGIC {
            return Err(ShareError::NotAShare);
        }
        if word(2) != FORMAT_VERSION {
            return Err(ShareError::Version { version: word(2) });
        }
        let descriptor_len = u32::from(word(4)) | u32::from(word(6)) << 16;
        if descriptor_len as usize > MAX_DESCRIPTOR_LEN {
            return Err(DescriptorError::Length { len: descriptor_len as usize }.into());
        }
        Ok(Self { number: word(0), descriptor_len })
    }
}

/// Why a share file is not intact.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ShareError {
    /// It does not end as a share file does.
    #[error("not a share file, or its end is missing")]
    NotAShare,
    /// It is of a format version that this program does not know.
    #[error("share format {version} needs a newer program")]
    Version {
        /// The version.
        version: u16,
    },
    /// Its descriptor cannot be read.
    #[error(transparent)]
    Descriptor(#[from] DescriptorError),
    /// Its length is not the one its descriptor implies.
    #[error("the share file has {found} bytes where its descriptor implies {expected}")]
    Length {
        /// Bytes that the descriptor implies.
        expected: u64,
        /// Bytes there are.
        found: u64,
    },
    /// Its number is not below N.
    #[error("share number {number} is not below {total}")]
    Number {
        /// The number.
        number: u16,
        /// N
        total: u16,
    },
    /// A column of its table of block roots is not what the descriptor commits to.
    #[error("the table of block roots is corrupt in column {column}")]
    Table {
        /// Share number whose column it is.
        column: u16,
    },
    /// A block is not what the table commits to.
    #[error("block {segment} is corrupt")]
    Block {
        /// Which segment's block.
        segment: u64,
    },
    /// It could not be read.
    #[error("the share file could not be read")]
    Io(#[from] io::Error),
}

/// Where everything lies in the file of one share.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ShareLayout {
    geometry: Geometry,
    number: u16,
    descriptor_len: u32,
}

impl ShareLayout {
    /// The layout of share `number` of an object with this geometry and a descriptor of `descriptor_len` bytes.
    pub fn new(geometry: Geometry, number: u16, descriptor_len: u32) -> Self {
        Self { geometry, number, descriptor_len }
    }

    /// Bytes of the whole file.
    pub fn file_len(&self) -> u64 {
        self.footer().end
    }

    /// The block of segment `index`.
    pub fn block(&self, index: u64) -> Range<u64> {
        let start = index * u64::from(self.geometry.params().block_len());
        start..start + self.geometry.block_len(index) as u64
    }

    /// The columns the table holds: those of the k data shares, and its own where it is parity.
    pub fn columns(&self) -> impl Iterator<Item = u16> + use<> {
        let needed = self.geometry.params().needed();
        (0..needed).chain((self.number >= needed).then_some(self.number))
    }

    /// The column of share `column`, which must be one of [`ShareLayout::columns`].
    pub fn column(&self, column: u16) -> Range<u64> {
        let needed = self.geometry.params().needed();
        let place = u64::from(column.min(needed));
        let start = self.geometry.share_data_len() + place * self.geometry.column_len();
        start..start + self.geometry.column_len()
    }

    /// The whole table.
    pub fn table(&self) -> Range<u64> {
        let start = self.geometry.share_data_len();
        start..start + self.columns().count() as u64 * self.geometry.column_len()
    }

    /// The descriptor.
    pub fn descriptor(&self) -> Range<u64> {
        let start = self.table().end;
        start..start + u64::from(self.descriptor_len)
    }

    /// The footer.
    pub fn footer(&self) -> Range<u64> {
        let start = self.descriptor().end;
        start..start + FOOTER_LEN as u64
    }
}

/// An intact share, as [`ShareCheck`] found it.
#[derive(Clone, Debug)]
pub struct ShareReport {
    /// H: what the share is filed under.
    pub hash: VerifyHash,
    /// Share number.
    pub number: u16,
    /// The descriptor.
    pub descriptor: Descriptor,
    /// Where everything lies.
    pub layout: ShareLayout,
}

impl ShareReport {
    /// Reads the end of a share file and checks it and the table, but no block. `read_at` fills a buffer from an offset.
    ///
    /// # Errors
    ///
    /// [`ShareError`], and whatever `read_at` fails with.
    pub fn read(
        file_len: u64,
        mut read_at: impl FnMut(u64, &mut [u8]) -> io::Result<()>,
    ) -> Result<(Self, Vec<Root>), ShareError> {
        let footer_at = file_len.checked_sub(FOOTER_LEN as u64).ok_or(ShareError::NotAShare)?;
        let mut footer = [0; FOOTER_LEN];
        read_at(footer_at, &mut footer)?;
        let footer = Footer::parse(&footer)?;
        let descriptor_at =
            footer_at.checked_sub(footer.descriptor_len.into()).ok_or(ShareError::NotAShare)?;
        let mut bytes = vec![0; footer.descriptor_len as usize];
        read_at(descriptor_at, &mut bytes)?;
        let descriptor = Descriptor::parse(&bytes)?;
        let params = descriptor.geometry.params();
        if footer.number >= params.total() {
            return Err(ShareError::Number { number: footer.number, total: params.total() });
        }
        let layout = ShareLayout::new(descriptor.geometry, footer.number, footer.descriptor_len);
        if layout.file_len() != file_len {
            return Err(ShareError::Length { expected: layout.file_len(), found: file_len });
        }
        let mut own = Vec::new();
        for number in layout.columns() {
            let range = layout.column(number);
            let mut column = crate::zeroed((range.end - range.start) as usize);
            read_at(range.start, &mut column)?;
            if column_root(&column) != descriptor.share_roots[usize::from(number)] {
                return Err(ShareError::Table { column: number });
            }
            if number == footer.number {
                own = column.as_chunks::<32>().0.to_vec();
            }
        }
        let report = Self { hash: Descriptor::hash(&bytes), number: footer.number, descriptor, layout };
        Ok((report, own))
    }
}

/// Checks a whole share, fed from its first byte on.
pub struct ShareCheck {
    block_len: u32,
    roots: Vec<Root>,
}

impl ShareCheck {
    /// A check of a share whose blocks have `block_len` bytes. If that turns out wrong, [`ShareCheck::finish`] reads the blocks again.
    pub fn new(block_len: u32) -> Self {
        Self { block_len, roots: Vec::new() }
    }

    /// Takes the next `block_len` bytes of the file, or at its end fewer.
    pub fn push(&mut self, bytes: &[u8]) {
        self.push_root(block_root(bytes));
    }

    /// The same of bytes that were hashed already: this is their root.
    pub fn push_root(&mut self, root: Root) {
        self.roots.push(root);
    }

    /// Forgets all but the first `blocks` pieces, for a share whose tail is sent again.
    pub fn truncate(&mut self, blocks: usize) {
        self.roots.truncate(blocks);
    }

    /// How many pieces were pushed.
    pub fn blocks(&self) -> usize {
        self.roots.len()
    }

    /// Decides, once all `file_len` bytes were pushed. What was not hashed on the way is read back.
    ///
    /// # Errors
    ///
    /// [`ShareError`] says what is wrong with the share.
    pub fn finish(
        self,
        file_len: u64,
        mut read_at: impl FnMut(u64, &mut [u8]) -> io::Result<()>,
    ) -> Result<ShareReport, ShareError> {
        let (report, own) = ShareReport::read(file_len, &mut read_at)?;
        let geometry = report.descriptor.geometry;
        let usable = self.block_len == geometry.params().block_len();
        for (segment, expected) in (0..).zip(&own) {
            let range = report.layout.block(segment);
            let full = range.end - range.start == u64::from(self.block_len);
            let root = match self.roots.get(segment as usize) {
                Some(root) if usable && full => *root,
                _ => {
                    let mut block = crate::zeroed((range.end - range.start) as usize);
                    read_at(range.start, &mut block)?;
                    block_root(&block)
                }
            };
            if root != *expected {
                return Err(ShareError::Block { segment });
            }
        }
        Ok(report)
    }
}
