//! Content of zero bytes only, which is stored nowhere.

use super::cut;
use kale_protocol::digest::Digest;
use std::sync::LazyLock;

/// Whether content is zero bytes only.
///
/// Stops at the first other byte, so that it costs nothing on most content.
pub(crate) fn is_zeros(content: &[u8]) -> bool {
    let (words, rest) = content.as_chunks::<64>();
    words.iter().all(|word| *word == [0; 64]) && rest.iter().all(|byte| *byte == 0)
}

/// The digest of a chunk of zeros; the longest one's is at hand, since a hole has thousands of them.
pub(crate) fn zeros_digest(bytes: u32) -> Digest {
    const LONGEST: usize = cut::MAX;
    // Made when they are needed: as a constant they would be a MiB of the binary.
    static DIGEST: LazyLock<Digest> = LazyLock::new(|| Digest::of(&vec![0; LONGEST]));
    if bytes as usize == LONGEST { *DIGEST } else { Digest::of(&vec![0; bytes as usize]) }
}
