//! Whole objects in memory, and a small deterministic random generator.

use encoding::{
    ContentKey, EncodedObject, EncodedSegment, Kind, ObjectBuilder, ObjectId, Params, SegmentEncoder,
    block_root,
};

/// The plaintext of every test: byte i is (7 i + floor(i / 251)) mod 256.
pub(crate) fn plaintext(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 7 + i / 251) as u8).collect()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// SplitMix64 (Steele, Lea, Flood 2014).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    pub(crate) fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }

    /// `count` different numbers below `below`, in random order.
    pub(crate) fn pick(&mut self, count: usize, below: usize) -> Vec<u16> {
        let mut all: Vec<u16> = (0..below as u16).collect();
        for i in 0..count {
            let other = i + (self.next() % (below - i) as u64) as usize;
            all.swap(i, other);
        }
        all.truncate(count);
        all
    }
}

/// Every subset of `count` of the numbers below `below`, in ascending order.
pub(crate) fn subsets(count: usize, below: u16) -> Vec<Vec<u16>> {
    (0u32..1 << below)
        .filter(|bits| bits.count_ones() as usize == count)
        .map(|bits| (0..below).filter(|i| bits >> i & 1 == 1).collect())
        .collect()
}

/// An object with all its share files.
pub(crate) struct Sample {
    pub(crate) id: ObjectId,
    pub(crate) object: EncodedObject,
    pub(crate) files: Vec<Vec<u8>>,
}

impl Sample {
    pub(crate) fn choose(&self, numbers: &[u16]) -> Vec<Vec<u8>> {
        numbers.iter().map(|number| self.files[usize::from(*number)].clone()).collect()
    }

    pub(crate) fn assemble(&self, files: &[Vec<u8>]) -> Result<Vec<u8>, encoding::AssembleError> {
        encoding::assemble(&self.id.key, &self.object.hash, files)
    }
}

pub(crate) fn convergent(params: Params, plain: &[u8]) -> ObjectId {
    ObjectId::convergent(&[7; 32], params, Kind::Direct, plain.len() as u64, blake3::hash(plain).as_bytes())
}

/// The segments of a file, encrypted under `id`.
pub(crate) fn segments(params: Params, id: &ObjectId, plain: &[u8]) -> Vec<EncodedSegment> {
    segments_of(params, &ContentKey::new(id), plain)
}

/// The segments of a file, encrypted under `key`.
pub(crate) fn segments_of(params: Params, key: &ContentKey, plain: &[u8]) -> Vec<EncodedSegment> {
    let mut encoder = SegmentEncoder::new(params);
    let full = params.segment_data_len() as usize;
    let count = plain.len().div_ceil(full).max(1);
    (0..count)
        .map(|index| {
            let piece = &plain[index * full..((index + 1) * full).min(plain.len())];
            encoder.encode(key, index as u64, piece, index + 1 == count).unwrap()
        })
        .collect()
}

/// An object of these segments, whatever they are.
pub(crate) fn build(
    params: Params,
    id: &ObjectId,
    kind: Kind,
    size: u64,
    segments: &[EncodedSegment],
) -> Sample {
    let mut builder = ObjectBuilder::new(params, kind, id);
    segments.iter().for_each(|segment| builder.add(segment).unwrap());
    let object = builder.finish(size, blake3::hash(b"advisory").as_bytes()).unwrap();
    let files = files(&object, segments);
    Sample { id: id.clone(), object, files }
}

pub(crate) fn files(object: &EncodedObject, segments: &[EncodedSegment]) -> Vec<Vec<u8>> {
    let total = object.descriptor.geometry.params().total();
    let file = |number: u16| {
        let mut file: Vec<u8> = Vec::new();
        segments.iter().for_each(|segment| file.extend_from_slice(&segment.blocks[usize::from(number)]));
        file.extend_from_slice(&object.trailer(number));
        file
    };
    (0..total).map(file).collect()
}

pub(crate) fn sample(params: Params, plain: &[u8]) -> Sample {
    let id = convergent(params, plain);
    build(params, &id, Kind::Direct, plain.len() as u64, &segments(params, &id, plain))
}

/// Puts another block in place of block `number`, and commits to it.
pub(crate) fn replace_block(segment: &mut EncodedSegment, number: u16, block: Vec<u8>) {
    segment.roots[usize::from(number)] = block_root(&block);
    segment.blocks[usize::from(number)] = block.into();
}
