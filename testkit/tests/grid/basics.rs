//! A file goes in and comes back.

use testkit::grid::SimGrid;

use crate::support::{get, noise, put};

#[tokio::test(start_paused = true)]
async fn files_of_many_sizes_come_back() {
    let mut grid = SimGrid::start(1, 10).await;
    let client = grid.client("3/7/10").await;
    for size in [0, 1, 55, 56, 4096, 16_368, 16_369, 785_663, 785_664, 785_665, 5_000_000] {
        let data = noise(1, size);
        let report = put(&client, &data).await.unwrap();
        let (back, got) = get(&client, &report.cap).await.unwrap();
        assert!(back == data, "size {size}");
        assert!(got.complaints.is_empty(), "{:?}", got.complaints);
        if size > 55 {
            assert_eq!(report.happiness, 10);
            assert!(report.failures.is_empty(), "{:?}", report.failures);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn extreme_parameters() {
    let mut grid = SimGrid::start(1, 3).await;
    for shares in ["1/1/1", "3/3/3", "1/3/256", "256/256/256"] {
        let happy = shares != "256/256/256";
        let client = grid.client(shares).await;
        for size in [100, 500_000] {
            let data = noise(2, size);
            let stored = put(&client, &data).await;
            if happy {
                assert!(
                    get(&client, &stored.unwrap().cap).await.unwrap().0 == data,
                    "{shares}, {size} bytes"
                );
            } else {
                let error = stored.unwrap_err();
                assert!(
                    matches!(error, client::UploadError::NotHappy { happiness: 3, wanted: 256, .. }),
                    "{error}"
                );
            }
        }
    }
}
