//! Files in chunks: put again after a change, only the change is sent.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use crate::grid::{Grid, note};

const MIB: u64 = 1 << 20;

#[test]
fn an_insertion_in_front_of_a_large_file() {
    let grid = Grid::start(10, "3/7/10");
    insertion(&grid, 64);
    if std::env::var_os("SARSEN_LONG").is_some_and(|long| long == "1") {
        insertion(&grid, 1024);
    } else {
        note("the insertion into 1 GiB is left out; SARSEN_LONG=1 runs it");
    }
}

/// Puts so many MiB, then the same with 1 MiB in front.
fn insertion(grid: &Grid, mib: u64) {
    let (before, after) = (grid.path("before"), grid.path("after"));
    write(&before, &[(&format!("{mib} MiB"), mib)]);
    write(&after, &[("inserted", 1), (&format!("{mib} MiB"), mib)]);
    let put = |path: &Path| {
        let args = ["put".as_ref(), "--chunked".as_ref(), "--json".as_ref(), path.as_os_str()];
        grid.client.run(args).ok().json()
    };
    let first = put(&before);
    assert!(first["sent"].as_u64() > Some(mib * MIB * 10 / 3), "{first}");
    assert_eq!(put(&before)["sent"].as_u64(), Some(0), "it is there already");
    let second = put(&after);
    // 4 MiB of the file in ten shares, any three of which are enough, with their hashes and descriptors, and the index nodes.
    let most = 4 * MIB * 10 / 3 + MIB / 2;
    assert!(second["sent"].as_u64() <= Some(most), "{second}");
    note(&format!("{} bytes of shares sent for 1 MiB in front of {mib} MiB", second["sent"]));
    let cap = second["cap"].as_str().unwrap();
    assert!(cap.ends_with(&format!(":{}", (mib + 1) * MIB)), "{cap}");
    let got = grid.path("got");
    grid.client.run(["get".as_ref(), cap.as_ref(), got.as_os_str()]).ok();
    assert!(same(&got, &after), "other bytes came back");
    let range = format!("{}-{}", 3 * MIB - 10, 3 * MIB + 9);
    let ran = grid.client.run(["get", cap, "--range", &range]).ok();
    let mut expected = vec![0; 4 * MIB as usize];
    File::open(&after).unwrap().read_exact(&mut expected).unwrap();
    assert!(ran.out == expected[3 * MIB as usize - 10..3 * MIB as usize + 10]);
}

/// A file of so many MiB of each stream of noise.
fn write(path: &Path, parts: &[(&str, u64)]) {
    let mut file = File::create(path).unwrap();
    let mut piece = vec![0; MIB as usize];
    for (name, mib) in parts {
        let mut noise = blake3::Hasher::new().update(name.as_bytes()).finalize_xof();
        for _ in 0..*mib {
            noise.fill(&mut piece);
            file.write_all(&piece).unwrap();
        }
    }
}

fn same(one: &Path, other: &Path) -> bool {
    let hash = |path: &Path| {
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(File::open(path).unwrap()).unwrap();
        hasher.finalize()
    };
    hash(one) == hash(other)
}
