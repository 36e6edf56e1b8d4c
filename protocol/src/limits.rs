//! Ceilings on every size that is read from a store or a socket, checked before memory is taken.

/// Longest name once percent-encoded, in bytes: with a suffix it still fits one path segment.
pub const NAME_ENCODED: usize = 200;
/// Longest path inside an artifact, in bytes (Linux `PATH_MAX` less the final NUL).
pub const PATH: usize = 4095;
/// Longest single component of such a path, in bytes (`NAME_MAX`).
pub const PATH_COMPONENT: usize = 255;
/// Longest symbolic link target, in bytes.
pub const LINK_TARGET: usize = 4095;
/// Largest chunk, in bytes of content.
pub const CHUNK: u32 = 4 << 20;
/// Largest frame, in bytes, stored or raw.
pub const FRAME: u32 = 16 << 20;
/// Largest content kept in the manifest itself, in bytes.
pub const INLINE: usize = 16 << 10;
/// Largest manifest page once decoded, in bytes; also the most a frame may hold.
pub const PAGE: u32 = FRAME;
/// Largest body of a manifest root, in bytes.
pub const MANIFEST: u64 = 64 << 20;
/// Largest body of a pack index, in bytes.
pub const PACK_INDEX: u64 = 64 << 20;
/// Most chunks in one pack: its index then stays far below [`PACK_INDEX`].
pub const PACK_CHUNKS: usize = 1 << 18;
/// Largest body of a step record, in bytes.
pub const RECORD: u64 = 64 << 20;
/// Largest body of a commit, in bytes.
pub const COMMIT: u64 = 64 << 20;
/// Largest body of a marker, a run, a hint, a tag or a lease, in bytes.
pub const SMALL: u64 = 1 << 20;
/// Largest captured log, in bytes.
pub const LOG: u64 = 64 << 20;
/// Largest frame on the socket between step code and agent, in bytes, without descriptors.
pub const IPC: u32 = 1 << 20;
/// Most file descriptors that go with one such frame (Linux `SCM_MAX_FD` is 253).
pub const IPC_DESCRIPTORS: usize = 64;
/// Most shards of one step.
pub const SHARDS: u32 = 1 << 20;
