//! What a Parquet file claims, checked before its reader believes it.
//!
//! The reader takes memory for a page's unpacked size and a schema's children as they are claimed, and follows a
//! schema's levels by recursion.

use super::super::thrift::{Compact, I32, LIST, STRUCT};

const DEPTH: u32 = 64;
/// How many levels a schema may have.
const LEVELS: usize = 64;

const DICTIONARY_PAGE: u64 = 2;

/// What a page's header claims to unpack to; `None` where the header is cut or makes no sense.
pub(super) fn page_bytes(header: &[u8]) -> Option<u64> {
    let mut reader = Compact { rest: header };
    let (mut kind, mut bytes, mut values) = (0, None, 0);
    reader.each_field(|reader, id, field| {
        match (id, field) {
            (1, I32) => kind = reader.natural()?,
            (2, I32) => bytes = bytes.max(Some(reader.natural()?)),
            (7, STRUCT) => reader.each_field(|reader, id, field| {
                match (id, field) {
                    (1, I32) => values = values.max(reader.natural()?),
                    _ => reader.skip(field, DEPTH)?,
                }
                Some(())
            })?,
            _ => reader.skip(field, DEPTH)?,
        }
        Some(())
    })?;
    // A value takes a byte at least, and up to 24 in memory.
    bytes.filter(|bytes| kind != DICTIONARY_PAGE || values <= *bytes)
}

/// Whether a file's schema has as many elements as it claims, in levels that can be followed.
pub(super) fn is_schema_sound(metadata: &[u8]) -> bool {
    let mut reader = Compact { rest: metadata };
    let mut sound = true;
    let walked = reader.each_field(|reader, id, field| {
        match (id, field) {
            (2, LIST) => sound &= schema(reader)?,
            _ => reader.skip(field, DEPTH)?,
        }
        Some(())
    });
    walked.is_some() && sound
}

/// The elements of a schema, each followed by its children; false where they do not add up.
fn schema(reader: &mut Compact<'_>) -> Option<bool> {
    let (length, kind) = reader.list_head()?;
    // How many children are to come at each level.
    let mut open: Vec<u64> = vec![1];
    let mut sound = kind == STRUCT;
    for left in (0..length).rev() {
        let mut children = 0;
        reader.each_field(|reader, id, field| {
            match (id, field) {
                (5, I32) => children = children.max(reader.natural()?),
                _ => reader.skip(field, DEPTH)?,
            }
            Some(())
        })?;
        while open.last() == Some(&0) {
            open.pop();
        }
        match open.last_mut() {
            Some(siblings) => *siblings -= 1,
            None => sound = false,
        }
        open.push(children);
        sound &= children <= left && open.len() <= LEVELS;
        if !sound {
            return Some(false);
        }
    }
    Some(open.iter().all(|children| *children == 0))
}

#[cfg(test)]
mod tests {
    use super::{is_schema_sound, page_bytes};

    #[test]
    fn a_page_tells_its_bytes() {
        // A data page of 300 bytes, 20 packed; its header is one field of a struct.
        let header = [0x15, 0x00, 0x15, 0xd8, 0x04, 0x15, 0x28, 0x2c, 0x15, 0x02, 0x00, 0x00];
        assert_eq!(page_bytes(&header), Some(300));
        assert_eq!(page_bytes(&header[..9]), None, "a cut header");
        let dictionary = [0x15, 0x04, 0x15, 0x14, 0x15, 0x14, 0x4c, 0x15, 0xd8, 0x04, 0x00, 0x00];
        assert_eq!(page_bytes(&dictionary), None, "300 values in 10 bytes");
        assert_eq!(page_bytes(&[0x15, 0x00, 0x15, 0x01, 0x00]), None, "less than nothing");
    }

    /// A file's metadata of elements with these numbers of children.
    fn schema(children: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0x29, 0xfc, children.len() as u8];
        for count in children {
            // The name first, then the children.
            bytes.extend([0x48, 1, b'x', 0x15, count * 2, 0]);
        }
        bytes.push(0);
        bytes
    }

    #[test]
    fn a_schema_has_to_add_up() {
        assert!(is_schema_sound(&schema(&[2, 0, 1, 0])));
        assert!(!is_schema_sound(&schema(&[2, 0])), "a child is missing");
        assert!(!is_schema_sound(&schema(&[1, 0, 0])), "a child is too many");
        let mut deep = vec![1; 100];
        deep.push(0);
        assert!(!is_schema_sound(&schema(&deep)), "too deep");
        assert!(!is_schema_sound(&[0x29]));
    }
}
