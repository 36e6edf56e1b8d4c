//! Where one chunk ends: rules 2 to 4 of `docs/formats/chunking.md`.
//!
//! A rule sees the bytes from a chunk's first on, up to [`MAX`] of them or to the end of the segment, and says how long
//! the chunk is. It keeps nothing between chunks, so that cuts cannot depend on how the content was read.

use std::sync::LazyLock;

/// The shortest chunk that the gear hash makes, but for the last of a segment; content up to this is one chunk.
pub(crate) const MIN: usize = 64 << 10;
/// The longest chunk, and the step of the fixed rule.
pub(crate) const MAX: usize = 1 << 20;
/// After this many bytes a byte has left the hash: one bit a byte, 64 bits.
const REACH: usize = 64;
/// The hash's top 18 bits are zero at a cut.
const SHIFT: u32 = 64 - 18;

/// What decides where a segment is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// By content: what is inserted moves only the cuts around it.
    Gear,
    /// Every [`MAX`] bytes: for arrays, which are rewritten or not, but seldom inserted into.
    Fixed,
}

impl Rule {
    /// The length of the chunk at the start of `window`, which holds [`MAX`] bytes or all up to the segment's end.
    pub(crate) fn first_chunk(self, window: &[u8]) -> usize {
        let longest = window.len().min(MAX);
        match self {
            Self::Fixed => longest,
            Self::Gear => gear(&window[..longest]),
        }
    }
}

static GEAR: LazyLock<[u64; 256]> = LazyLock::new(|| {
    std::array::from_fn(|byte| {
        let hash = blake3::hash(format!("kale-agent gear 1 {byte}").as_bytes());
        u64::from_le_bytes(hash.as_bytes()[..8].try_into().expect("8 bytes of 32 are 8 bytes"))
    })
});

fn gear(window: &[u8]) -> usize {
    if window.len() <= MIN {
        return window.len();
    }
    let table: &[u64; 256] = &GEAR;
    let step = |hash: u64, byte: u8| (hash << 1).wrapping_add(table[usize::from(byte)]);
    let before = window[MIN - REACH..MIN - 1].iter().fold(0, |hash, byte| step(hash, *byte));
    let cut = window[MIN - 1..].iter().scan(before, |hash, byte| {
        *hash = step(*hash, *byte);
        Some(*hash)
    });
    cut.enumerate().find(|(_, hash)| hash >> SHIFT == 0).map_or(window.len(), |(at, _)| MIN + at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seeded(seed: &str, bytes: usize) -> Vec<u8> {
        let mut content = vec![0; bytes];
        blake3::Hasher::new().update(seed.as_bytes()).finalize_xof().fill(&mut content);
        content
    }

    fn cuts(content: &[u8]) -> Vec<usize> {
        let mut lengths = Vec::new();
        let mut rest = content;
        while !rest.is_empty() {
            let length = Rule::Gear.first_chunk(rest);
            lengths.push(length);
            rest = &rest[length..];
        }
        lengths
    }

    /// The rule as the page words it, one byte at a time from each chunk's first byte.
    fn by_the_page(content: &[u8]) -> Vec<usize> {
        let (mut lengths, mut hash, mut length) = (Vec::new(), 0u64, 0usize);
        for byte in content {
            hash = (hash << 1).wrapping_add(GEAR[usize::from(*byte)]);
            length += 1;
            if (length >= 64 << 10 && hash & 0xffff_c000_0000_0000 == 0) || length == 1 << 20 {
                lengths.push(length);
                (hash, length) = (0, 0);
            }
        }
        if length > 0 {
            lengths.push(length);
        }
        lengths
    }

    #[test]
    fn golden_cuts_of_seeded_content() {
        let lengths = cuts(&seeded("golden", 3 << 20));
        assert_eq!(lengths, GOLDEN);
        assert_eq!(GEAR[0].to_le_bytes(), blake3::hash(b"kale-agent gear 1 0").as_bytes()[..8]);
    }

    /// Format: these numbers never change.
    const GOLDEN: [usize; 13] = [
        98_966, 268_178, 199_971, 500_202, 263_281, 185_931, 128_690, 160_112, 74_760, 253_266, 305_038, 627_625,
        79_708,
    ];

    #[test]
    fn cuts_are_those_of_the_page_and_of_the_expected_size() {
        let content = seeded("sizes", 64 << 20);
        let lengths = cuts(&content);
        assert_eq!(lengths, by_the_page(&content));
        let average = content.len() / lengths.len();
        assert!((260 << 10..380 << 10).contains(&average), "{average}");
        assert!(lengths[..lengths.len() - 1].iter().all(|length| (MIN..=MAX).contains(length)));
    }

    #[test]
    fn a_run_of_zeros_is_cut_at_the_longest_length_only() {
        assert_eq!(cuts(&vec![0; 3 * MAX + 5]), [MAX, MAX, MAX, 5]);
        let settled = (0..REACH).fold(0u64, |hash, _| (hash << 1).wrapping_add(GEAR[0]));
        assert_eq!((settled << 1).wrapping_add(GEAR[0]), settled);
        assert_ne!(settled >> SHIFT, 0);
    }

    #[test]
    fn what_is_inserted_moves_only_the_cuts_around_it() {
        let content = seeded("insert", 16 << 20);
        let mut changed = content.clone();
        changed.splice(100_000..100_000, *b"inserted");
        let ends = |content: &[u8]| -> std::collections::BTreeSet<usize> {
            cuts(content)
                .into_iter()
                .scan(0, |end, length| {
                    *end += length;
                    Some(content.len() - *end)
                })
                .collect()
        };
        let (before, after) = (ends(&content), ends(&changed));
        assert!(before.difference(&after).count() <= 8, "{} of {}", before.difference(&after).count(), before.len());
    }
}
