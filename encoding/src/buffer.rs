//! Room for bytes that are about to be read.

/// `len` zeros, in memory that was used before if there is some. `vec![0; len]` asks the allocator for zeros, and ours gives long pieces
/// back to the system for that: each of their pages is a fault when it is written, and other threads are interrupted.
pub fn zeroed(len: usize) -> Vec<u8> {
    // The compiler would make the same of both.
    let mut bytes = std::hint::black_box(Vec::with_capacity(len));
    bytes.resize(len, 0);
    bytes
}
