//! NumPy arrays: a header of text, then the array.

use super::{ReadAt, Rule, Start, le_u16, le_u32};

/// The longest header: NumPy itself refuses more than 10,000 characters unless told otherwise.
const HEADER: u64 = 1 << 20;

pub(super) fn starts(content: &(impl ReadAt + ?Sized), bytes: u64) -> Option<Vec<Start>> {
    let mut first = [0; 13];
    content.read_exact_at(&mut first, 0).ok()?;
    let (prefix, header) = match first[6] {
        1 => (10, u64::from(le_u16(&first, 8)?)),
        2 | 3 => (12, u64::from(le_u32(&first, 8)?)),
        _ => return None,
    };
    let data = prefix + header;
    let sound = first[prefix as usize] == b'{' && header <= HEADER && data < bytes;
    sound.then(|| vec![Start { at: data, rule: Rule::Fixed }])
}

#[cfg(test)]
mod tests {
    use super::super::{Format, split};
    use super::Rule;

    fn npy(major: u8, data: usize) -> Vec<u8> {
        let text = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }";
        let prefix = if major == 1 { 10 } else { 12 };
        let mut content = b"\x93NUMPY".to_vec();
        content.extend([major, 0]);
        let header = 128 - prefix;
        if major == 1 {
            content.extend((header as u16).to_le_bytes());
        } else {
            content.extend((header as u32).to_le_bytes());
        }
        content.extend(text);
        content.resize(127, b' ');
        content.push(b'\n');
        content.resize(128 + data, 7);
        content
    }

    #[test]
    fn data_begins_a_typed_segment() {
        for major in [1, 2, 3] {
            let content = npy(major, 100_000);
            let split = split(&content[..], content.len() as u64);
            assert_eq!(split.format, Some(Format::Npy));
            let shown: Vec<_> = split.segments.iter().map(|s| (s.start, s.rule)).collect();
            assert_eq!(shown, [(0, Rule::Content), (128, Rule::Fixed)]);
        }
    }

    #[test]
    fn short_content_is_one_segment_and_a_cut_off_header_none() {
        let content = npy(1, 100);
        let whole = split(&content[..], content.len() as u64);
        assert_eq!((whole.format, whole.segments.len()), (Some(Format::Npy), 1));
        let cut_off = split(&content[..128], 128);
        assert_eq!((cut_off.format, cut_off.segments.len()), (None, 1));
    }
}
