//! Descriptors. What parses is written back to the letter, so that H names one meaning; the geometry it states holds together; and a
//! key that is not the object's does not open it.

#![no_main]

use caps::ReadKey;
use encoding::{Descriptor, Extension, Geometry, MAX_DESCRIPTOR_LEN, Params, SealedError, ShareLayout};
use libfuzzer_sys::fuzz_target;
use sarsen_fuzz::Sample;

fuzz_target!(init: sarsen_fuzz::sow(seeds()), |data: &[u8]| {
    let Ok(descriptor) = Descriptor::parse(data) else { return };
    assert_eq!(descriptor.to_bytes(), data);
    assert!(data.len() <= MAX_DESCRIPTOR_LEN);
    assert_eq!(descriptor.share_roots.len(), usize::from(descriptor.geometry.params().total()));
    assert!(descriptor.extensions.iter().all(|extension| extension.kind < 0x8000));
    assert_eq!(descriptor.open(&ReadKey::new([0x5a; 16])), Err(SealedError::WrongKey));
    check_geometry(&descriptor.geometry, data.len() as u32);
});

fn check_geometry(geometry: &Geometry, descriptor_len: u32) {
    let params = geometry.params();
    assert_eq!(Geometry::for_plaintext(params, geometry.plaintext_len()), Ok(*geometry));
    assert_eq!(Geometry::for_ciphertext(params, geometry.ciphertext_len()), Ok(*geometry));
    let last = geometry.segments() - 1;
    for index in [0, last / 2, last] {
        let block_len = geometry.block_len(index);
        assert!(block_len.is_multiple_of(2) && block_len <= params.block_len() as usize);
        let held = block_len as u64 * u64::from(params.needed());
        assert!(held >= geometry.segment_ciphertext_len(index));
        let bytes = geometry.segment_data_range(index);
        assert!(bytes.is_empty() || geometry.segments_of(&bytes) == (index..index + 1));
    }
    assert_eq!(geometry.segment_data_range(last).end, geometry.plaintext_len());
    for number in [0, params.needed() - 1, params.total() - 1] {
        let layout = ShareLayout::new(*geometry, number, descriptor_len);
        assert_eq!(layout.block(last).end, layout.table().start);
        assert!(layout.columns().any(|column| column == number));
        assert_eq!(layout.column(number).end - layout.column(number).start, geometry.column_len());
        assert!(layout.column(number).end <= layout.table().end);
        assert_eq!(layout.table().end, layout.descriptor().start);
        assert_eq!(layout.footer().end, layout.file_len());
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let sample = |needed, total, len| {
        let params = Params::new(needed, total).expect("k is not above N");
        Sample::new(params, &vec![42; len], |_| ()).object.descriptor
    };
    let mut extended = sample(1, 1, 100);
    extended.extensions =
        vec![Extension { kind: 1, value: vec![1] }, Extension { kind: 2, value: Vec::new() }];
    [sample(3, 10, 5000), sample(1, 1, 0), sample(7, 256, 300_000), extended].map(|one| one.to_bytes()).into()
}
