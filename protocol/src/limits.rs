//! Bounds on everything that is read off the wire.

/// The longest message frame, in bytes.
pub const MAX_FRAME_LEN: u32 = 1024 * 1024;
/// The longest free text in a message (nicknames, versions, error messages), in bytes.
pub const MAX_TEXT_LEN: usize = 512;
/// The most hashes or lengths in one message.
pub const MAX_BATCH: usize = 10_000;
/// The most blocks one read may ask for.
pub const MAX_BLOCKS_PER_READ: u32 = 64;
/// The largest share that travels whole in the answer to a lookup, in bytes.
pub const MAX_INLINE_SHARE: u32 = 128 * 1024;
/// The most addresses, stores or features one announcement or hello may list.
pub const MAX_LIST: usize = 64;
/// The most shares of one object, or columns of one share, that one message lists.
pub const MAX_SHARES: usize = 512;
/// The largest share that travels with others in one request, in bytes.
pub const MAX_SMALL_SHARE_LEN: u32 = 64 * 1024;
/// The most bytes of shares that one such request carries.
pub const MAX_SMALL_BODY_LEN: usize = 768 * 1024;
/// The largest share file, in bytes: 2^46.
pub const MAX_SHARE_LEN: u64 = 1 << 46;
/// Streams that one connection may have open at once.
pub const MAX_STREAMS: u32 = 256;
/// The longest letter of an invitation, in bytes.
pub const MAX_LETTER_LEN: usize = 16 * 1024;
