//! The cut by content: rule 3 of `docs/formats/chunking.md`.
//!
//! Two tests of the bytes before a position, the first one cheap enough to be made at each: it needs no table and no
//! state, so compilers make vector code of it, which a rolling hash does not allow. Measured on one core against a gear
//! hash of the same chunk size: CSV 3.7 against 1.9 GB/s, noise 5.1 against 1.8. Where content has too little variety
//! for it (it found nothing in a whole window), the gear hash decides.

use super::MIN;
use std::sync::LazyLock;

/// Positions that are tested at a time.
const BLOCK: usize = 64;
/// The first test sees so many bytes.
const NEAR: usize = 8;
/// What it looks for: of random positions, one in 256 has it.
const MARK: u8 = 0xa5;
/// The second test sees so many bytes.
const FAR: usize = 32;
/// What it multiplies them with: odd, and otherwise without meaning.
const FACTORS: [u64; FAR / 8] =
    [0x9e37_79b9_7f4a_7c15, 0xc2b2_ae3d_27d4_eb4f, 0x1656_67b1_9e37_79f9, 0xd6e8_feb8_6659_fd93];
/// The product's top 9 bits are zero at a cut.
const FAR_SHIFT: u32 = 64 - 9;
/// After this many bytes a byte has left the gear hash: one bit a byte, 64 bits.
const REACH: usize = 64;
/// The gear hash's top 18 bits are zero at a cut.
const GEAR_SHIFT: u32 = 64 - 18;

static GEAR: LazyLock<[u64; 256]> = LazyLock::new(|| {
    std::array::from_fn(|byte| {
        let hash = blake3::hash(format!("kale-agent gear 1 {byte}").as_bytes());
        u64::from_le_bytes(hash.as_bytes()[..8].try_into().expect("8 bytes of 32 are 8 bytes"))
    })
});

/// The length of the chunk at the start of a window longer than [`MIN`], or how far it was tested.
pub(super) fn first_cut(window: &[u8], whole: bool, tested: &mut usize) -> Option<usize> {
    let cut = marked(window, whole, tested);
    if whole { cut.or_else(|| gear(window)).or(Some(window.len())) } else { cut }
}

/// The first cut by the two tests; blocks that are not complete are left for later, unless the window is whole.
fn marked(window: &[u8], whole: bool, tested: &mut usize) -> Option<usize> {
    let mut at = (*tested).max(MIN - 1);
    while let Some(block) = window.get(at + 1 - NEAR..at + BLOCK) {
        let near = near(block.try_into().expect("a block and what comes before it"));
        if near.iter().fold(false, |any, near| any | (*near == MARK)) {
            let marks = near.iter().enumerate().filter(|(_, near)| **near == MARK);
            let cut = marks.map(|(index, _)| at + index + 1).find(|end| far(window, *end));
            if cut.is_some() {
                return cut;
            }
        }
        at += BLOCK;
    }
    *tested = at;
    if !whole {
        return None;
    }
    (at + 1..=window.len()).find(|end| last_near(&window[end - NEAR..*end]) == MARK && far(window, *end))
}

/// The first test's value at each position of a block; the array begins [`NEAR`] - 1 bytes before it.
#[inline(always)]
fn near(bytes: &[u8; BLOCK + NEAR - 1]) -> [u8; BLOCK] {
    let before = |back: usize| -> &[u8; BLOCK] {
        bytes[NEAR - 1 - back..][..BLOCK].try_into().expect("a block, shifted by less than what comes before it")
    };
    let shifted: [&[u8; BLOCK]; NEAR] = std::array::from_fn(|index| before(NEAR - 1 - index));
    std::array::from_fn(|index| mix(std::array::from_fn(|age| shifted[age][index])))
}

fn last_near(bytes: &[u8]) -> u8 {
    mix(bytes.try_into().expect("as many bytes as the test sees"))
}

/// Adds and xors in turn, oldest byte first.
#[inline(always)]
fn mix([a, b, c, d, e, f, g, h]: [u8; NEAR]) -> u8 {
    let sum = a.wrapping_add(b) ^ c;
    let sum = sum.wrapping_add(d) ^ e;
    let sum = sum.wrapping_add(f) ^ g;
    sum.wrapping_add(h)
}

/// The second test, of the bytes before `end`.
fn far(window: &[u8], end: usize) -> bool {
    let (words, _) = window[end - FAR..end].as_chunks::<8>();
    let products = words.iter().zip(FACTORS).map(|(word, factor)| u64::from_le_bytes(*word).wrapping_mul(factor));
    products.fold(0, u64::wrapping_add) >> FAR_SHIFT == 0
}

/// The first cut by the gear hash.
fn gear(window: &[u8]) -> Option<usize> {
    let table: &[u64; 256] = &GEAR;
    let step = |hash: u64, byte: &u8| (hash << 1).wrapping_add(table[usize::from(*byte)]);
    let mut hash = window[MIN - REACH..MIN - 1].iter().fold(0, step);
    for (index, byte) in window[MIN - 1..].iter().enumerate() {
        hash = step(hash, byte);
        if hash >> GEAR_SHIFT == 0 {
            return Some(MIN + index);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{super::MAX, *};

    /// The rule as the page words it, from each chunk's first byte.
    fn by_the_page(content: &[u8]) -> usize {
        let window = &content[..content.len().min(MAX)];
        let near = |end: usize| {
            let b: Vec<u8> = window[end - 8..end].to_vec();
            let mut value = b[0];
            for (index, byte) in b.iter().enumerate().skip(1) {
                value = if index % 2 == 1 { value.wrapping_add(*byte) } else { value ^ byte };
            }
            value
        };
        let far = |end: usize| {
            let word = |at: usize| u64::from_le_bytes(window[at..at + 8].try_into().unwrap());
            (0..4).fold(0u64, |sum, k| sum.wrapping_add(word(end - 32 + 8 * k).wrapping_mul(FACTORS[k])))
        };
        let ends = (64 << 10)..=window.len();
        if let Some(end) = ends.clone().find(|end| near(*end) == 0xa5 && far(*end) < 1 << 55) {
            return end;
        }
        let mut hash = 0u64;
        for (index, byte) in window.iter().enumerate() {
            hash = (hash << 1).wrapping_add(GEAR[usize::from(*byte)]);
            if ends.contains(&(index + 1)) && hash & 0xffff_c000_0000_0000 == 0 {
                return index + 1;
            }
        }
        window.len()
    }

    /// The same, for a reader that reads on only where it has to.
    fn in_steps(content: &[u8]) -> usize {
        let longest = content.len().min(MAX);
        let mut tested = 0;
        let lengths = (MIN + 1..longest).step_by(50_001).chain([longest]);
        let mut cuts = lengths.map(|length| first_cut(&content[..length], length == longest, &mut tested));
        cuts.find_map(|cut| cut).expect("a whole window has a chunk")
    }

    #[test]
    fn cuts_are_those_of_the_page() {
        let mut noise = vec![0; 20 << 20];
        blake3::Hasher::new().update(b"page").finalize_xof().fill(&mut noise);
        let table: Vec<u8> = (0..400_000u32).flat_map(|i| format!("{i},{},{}\n", i % 7, i * 3).into_bytes()).collect();
        let poor: Vec<u8> = noise[..3 << 20].iter().flat_map(|b| [b'0' + (b & 1), b',']).collect();
        let (mut by_mark, mut by_gear, mut by_length) = (0, 0, 0);
        for content in [&noise[..], &table, &poor, &[7; (2 << 20) + 70_000]] {
            let mut rest = content;
            while rest.len() > MIN {
                let window = &rest[..rest.len().min(MAX)];
                let cut = first_cut(window, true, &mut 0).unwrap();
                assert_eq!(cut, by_the_page(rest));
                assert_eq!(in_steps(rest), cut);
                match (marked(window, true, &mut 0), gear(window)) {
                    (Some(_), _) => by_mark += 1,
                    (None, Some(_)) => by_gear += 1,
                    (None, None) => by_length += 1,
                }
                rest = &rest[cut..];
            }
        }
        assert!(by_mark > 50 && by_gear > 5 && by_length > 2, "{by_mark} {by_gear} {by_length}");
    }

    #[test]
    fn the_table_is_format() {
        assert_eq!(GEAR[0].to_le_bytes(), blake3::hash(b"kale-agent gear 1 0").as_bytes()[..8]);
    }

    #[test]
    fn a_run_of_one_byte_is_never_cut_by_the_gear_hash() {
        let settled = (0..REACH).fold(0u64, |hash, _| (hash << 1).wrapping_add(GEAR[0]));
        assert_eq!((settled << 1).wrapping_add(GEAR[0]), settled);
        assert_ne!(settled >> GEAR_SHIFT, 0);
        assert_ne!(mix([0; NEAR]), MARK);
    }
}
