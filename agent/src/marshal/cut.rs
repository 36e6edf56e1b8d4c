//! Where one chunk ends: rules 2 to 4 of `docs/formats/chunking.md`.
//!
//! A rule sees the bytes from a chunk's first on, up to [`MAX`] of them or to the end of the segment, and says how long
//! the chunk is. What it keeps between chunks spares work and decides nothing, so that cuts cannot depend on how the
//! content was read.

mod content;

/// The shortest chunk that the content rule makes, but for the last of a segment; content up to this is one chunk.
pub(crate) const MIN: usize = 64 << 10;
/// The longest chunk, and the step of the fixed rule.
pub(crate) const MAX: usize = 1 << 20;

/// What decides where a segment is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// By content: what is inserted moves only the cuts around it.
    Content,
    /// Every [`MAX`] bytes: for arrays, which are rewritten or not, but seldom inserted into.
    Fixed,
}

impl Rule {
    /// The length of the chunk at the start of `window`, of at most [`MAX`] bytes; `None` where more has to be seen,
    /// which never is where the window is whole: as long as it can be, or up to the segment's end.
    ///
    /// `tested` is for what earlier calls saw: 0 where content begins, and kept from call to call, from one chunk to the
    /// next, too.
    pub(crate) fn first_chunk(self, window: &[u8], whole: bool, tested: &mut usize) -> Option<usize> {
        match self {
            Self::Content if window.len() > MIN => content::first_cut(window, whole, tested),
            _ => whole.then_some(window.len()),
        }
    }
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
            let window = &rest[..rest.len().min(MAX)];
            let length = Rule::Content.first_chunk(window, true, &mut 0).expect("a whole window has a chunk");
            lengths.push(length);
            rest = &rest[length..];
        }
        lengths
    }

    #[test]
    fn golden_cuts_of_seeded_content() {
        let lengths = cuts(&seeded("golden", 3 << 20));
        assert_eq!(lengths, GOLDEN);
    }

    /// Format: these numbers never change.
    const GOLDEN: [usize; 20] = [
        70_668, 179_530, 160_442, 112_610, 102_125, 193_309, 132_505, 99_200, 500_099, 93_356, 190_589, 304_580,
        171_402, 76_255, 215_012, 145_133, 80_033, 189_468, 79_398, 50_014,
    ];

    #[test]
    fn chunks_are_of_the_expected_size() {
        let content = seeded("sizes", 64 << 20);
        let lengths = cuts(&content);
        let average = content.len() / lengths.len();
        assert!((160 << 10..230 << 10).contains(&average), "{average}");
        assert!(lengths[..lengths.len() - 1].iter().all(|length| (MIN..=MAX).contains(length)));
    }

    #[test]
    fn a_run_of_zeros_is_cut_at_the_longest_length_only() {
        assert_eq!(cuts(&vec![0; 3 * MAX + 5]), [MAX, MAX, MAX, 5]);
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
