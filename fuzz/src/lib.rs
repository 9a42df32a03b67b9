//! What the fuzz targets share: seeds, bytes that steer, and small objects.
//!
//! Each target asserts more than the absence of panics; the head of its file says what. `cargo xtask fuzz` runs them.

mod object;
mod sections;
mod steer;

pub use object::{Sample, check_pushed, check_read};
pub use sections::{sections, unite};
pub use steer::Steer;

/// Puts seeds into the corpus, where `SARSEN_FUZZ_SEEDS` names it. Equal seeds get equal names, so this may be repeated.
pub fn sow(seeds: impl IntoIterator<Item = Vec<u8>>) {
    let Some(folder) = std::env::var_os("SARSEN_FUZZ_SEEDS") else { return };
    for seed in seeds {
        let name = format!("seed-{}", &blake3::hash(&seed).to_hex()[..16]);
        std::fs::write(std::path::Path::new(&folder).join(name), seed).expect("the corpus can be written to");
    }
}
