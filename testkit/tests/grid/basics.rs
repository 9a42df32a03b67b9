//! A file goes in and comes back.

use client::{GetOptions, PutOptions, Source};
use testkit::grid::SimGrid;

/// Bytes that depend on `seed` and position.
pub(crate) fn noise(seed: u8, len: usize) -> Vec<u8> {
    let mut out = vec![0; len];
    blake3::Hasher::new_keyed(&[seed; 32]).finalize_xof().fill(&mut out);
    out
}

#[tokio::test(start_paused = true)]
async fn files_of_many_sizes_come_back() {
    let mut grid = SimGrid::start(1, 10).await;
    let client = grid.client("3/7/10").await;
    for size in [0, 1, 55, 56, 4096, 16_368, 16_369, 785_663, 785_664, 785_665, 5_000_000] {
        let data = noise(1, size);
        let report = client.put(Source::bytes(data.clone()), PutOptions::default()).await.unwrap();
        let mut back = Vec::new();
        let got = client.get(&report.cap, &mut back, GetOptions::default()).await.unwrap();
        assert!(back == data, "size {size}");
        assert!(got.complaints.is_empty(), "{:?}", got.complaints);
        if size > 55 {
            assert_eq!(report.happiness, 10);
            assert!(report.failures.is_empty(), "{:?}", report.failures);
        }
    }
}
