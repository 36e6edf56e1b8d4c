//! The cut by content: rule 3 of `docs/formats/chunking.md`.
//!
//! Two tests of the bytes before a position, the first one cheap enough to be made at each: it needs no table and no
//! state, so compilers make vector code of it, which a rolling hash does not allow. Measured on one core against a gear
//! hash of the same chunk size: CSV 3.7 against 1.9 GB/s, noise 5.1 against 1.8. Where content has too little variety
//! for it (it found nothing in a whole window), the gear hash decides.

use super::MIN;
use std::{array, sync::LazyLock};

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
/// Stretches that are hashed in turn, and how long each of them is.
const LANES: usize = 4;
const LANE: usize = 1 << 10;
/// The gear hash's top 18 bits are zero at a cut.
const GEAR_SHIFT: u32 = 64 - 18;

type Table = [u64; 256];

static GEAR: LazyLock<Table> = LazyLock::new(|| {
    array::from_fn(|byte| {
        let hash = blake3::hash(format!("kale-agent gear 1 {byte}").as_bytes());
        u64::from_le_bytes(hash.as_bytes()[..8].try_into().expect("8 bytes of 32 are 8 bytes"))
    })
});

/// The length of the chunk at the start of a window longer than [`MIN`], or how far it was tested.
pub(super) fn first_cut(window: &[u8], whole: bool, tested: &mut usize) -> Option<usize> {
    let marked = marked(window, whole, tested);
    if marked.is_some() || !whole {
        return marked;
    }
    let cut = gear(window).unwrap_or(window.len());
    // The next chunk begins within what has no mark, and need not be looked at for one again.
    *tested = window.len() - cut;
    Some(cut)
}

/// The first cut by the two tests; blocks that are not complete are left for later, unless the window is whole.
fn marked(window: &[u8], whole: bool, tested: &mut usize) -> Option<usize> {
    let mut at = (*tested).max(MIN - 1);
    *tested = 0;
    while let Some(block) = window.get(at + 1 - NEAR..at + BLOCK) {
        let mut marks = marks(&near(block.try_into().expect("a block and what comes before it")));
        while marks != 0 {
            let end = at + marks.trailing_zeros() as usize + 1;
            if far(window, end) {
                return Some(end);
            }
            marks &= marks - 1;
        }
        at += BLOCK;
    }
    if !whole {
        *tested = at;
        return None;
    }
    (at + 1..=window.len()).find(|end| last_near(&window[end - NEAR..*end]) == MARK && far(window, *end))
}

/// Which positions of a block have the mark, the first as the lowest bit.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn marks(near: &[u8; BLOCK]) -> u64 {
    use std::arch::x86_64::{_mm_cmpeq_epi8, _mm_loadu_si128, _mm_movemask_epi8, _mm_set1_epi8};
    let (parts, _) = near.as_chunks::<16>();
    let mask = |part: &[u8; 16]| {
        // SAFETY: every x86-64 has SSE2, and the 16 bytes that are read, at any alignment, are those of the part.
        let mask = unsafe {
            let part = _mm_loadu_si128(part.as_ptr().cast());
            _mm_movemask_epi8(_mm_cmpeq_epi8(part, _mm_set1_epi8(MARK as i8)))
        };
        u64::from(mask as u16)
    };
    parts.iter().enumerate().fold(0, |marks, (index, part)| marks | mask(part) << (16 * index))
}

#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
fn marks(near: &[u8; BLOCK]) -> u64 {
    if !near.iter().fold(false, |any, near| any | (*near == MARK)) {
        return 0;
    }
    near.iter().enumerate().fold(0, |marks, (index, near)| marks | u64::from(*near == MARK) << index)
}

/// The first test's value at each position of a block; the array begins [`NEAR`] - 1 bytes before it.
#[inline(always)]
fn near(bytes: &[u8; BLOCK + NEAR - 1]) -> [u8; BLOCK] {
    let before = |back: usize| -> &[u8; BLOCK] {
        bytes[NEAR - 1 - back..][..BLOCK].try_into().expect("a block, shifted by less than what comes before it")
    };
    let shifted: [&[u8; BLOCK]; NEAR] = array::from_fn(|index| before(NEAR - 1 - index));
    array::from_fn(|index| mix(array::from_fn(|age| shifted[age][index])))
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
///
/// One byte's hash waits for the one before it. So several stretches are hashed in turn, which is more than twice as
/// fast, until one of them has a cut; then they are hashed once more, up to the first one.
fn gear(window: &[u8]) -> Option<usize> {
    let table = &*GEAR;
    let mut at = MIN - 1;
    while let Some(step) = window.get(at + 1 - REACH..at + LANES * LANE) {
        if has_cut(table, step) {
            break;
        }
        at += LANES * LANE;
    }
    let mut hash = hash(table, &window[at + 1 - REACH..at]);
    let is_cut = |byte: &u8| {
        hash = roll(table, hash, *byte);
        hash >> GEAR_SHIFT == 0
    };
    Some(at + 1 + window[at..].iter().position(is_cut)?)
}

/// Whether any stretch has a cut; the first one begins behind the bytes that its first hash reaches back to. A test that
/// ends the loop costs less than to keep the least hash.
#[inline(always)]
fn has_cut(table: &Table, step: &[u8]) -> bool {
    let mut hashes: [u64; LANES] = array::from_fn(|lane| hash(table, &step[lane * LANE..][..REACH - 1]));
    let lanes: [&[u8; LANE]; LANES] =
        array::from_fn(|lane| step[lane * LANE + REACH - 1..].first_chunk().expect("a step has all its stretches"));
    for index in 0..LANE {
        for (lane, bytes) in lanes.iter().enumerate() {
            hashes[lane] = roll(table, hashes[lane], bytes[index]);
            if hashes[lane] >> GEAR_SHIFT == 0 {
                return true;
            }
        }
    }
    false
}

fn hash(table: &Table, bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |hash, byte| roll(table, hash, *byte))
}

#[inline(always)]
fn roll(table: &Table, hash: u64, byte: u8) -> u64 {
    (hash << 1).wrapping_add(table[usize::from(byte)])
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
    fn in_steps(content: &[u8], tested: &mut usize) -> usize {
        let longest = content.len().min(MAX);
        let lengths = (MIN + 1..longest).step_by(50_001).chain([longest]);
        let mut cuts = lengths.map(|length| first_cut(&content[..length], length == longest, tested));
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
            let (mut rest, mut tested) = (content, 0);
            while rest.len() > MIN {
                let window = &rest[..rest.len().min(MAX)];
                let cut = first_cut(window, true, &mut 0).unwrap();
                assert_eq!(cut, by_the_page(rest));
                assert_eq!(in_steps(rest, &mut tested), cut);
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
