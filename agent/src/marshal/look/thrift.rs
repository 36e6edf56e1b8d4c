//! As much of Thrift's compact protocol as it takes to check Parquet's claims before its reader believes them.
//!
//! The reader takes memory for a page's unpacked size and a schema's children as they are claimed, and follows a
//! schema's levels by recursion.

const DEPTH: usize = 64;
/// How many levels a schema may have.
const LEVELS: usize = 64;

const I32: u8 = 5;
const LIST: u8 = 9;
const STRUCT: u8 = 12;
const DICTIONARY_PAGE: u64 = 2;

/// What a page's header claims to unpack to; `None` where the header is cut or makes no sense.
pub(super) fn page_bytes(header: &[u8]) -> Option<u64> {
    let mut reader = Reader { rest: header };
    let (mut kind, mut bytes, mut values) = (0, None, 0);
    reader.fields(|reader, id, field| {
        match (id, field) {
            (1, I32) => kind = reader.number()?,
            (2, I32) => bytes = bytes.max(Some(reader.number()?)),
            (7, STRUCT) => reader.fields(|reader, id, field| {
                match (id, field) {
                    (1, I32) => values = values.max(reader.number()?),
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
    let mut reader = Reader { rest: metadata };
    let mut sound = true;
    let walked = reader.fields(|reader, id, field| {
        match (id, field) {
            (2, LIST) => sound &= reader.schema()?,
            _ => reader.skip(field, DEPTH)?,
        }
        Some(())
    });
    walked.is_some() && sound
}

struct Reader<'b> {
    rest: &'b [u8],
}

impl Reader<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*byte)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// A number that is not below zero, from its zigzag form.
    fn number(&mut self) -> Option<u64> {
        let value = self.varint()?;
        (value & 1 == 0).then_some(value >> 1)
    }

    /// Calls `each` for every field of a struct; it must take the field's value.
    fn fields(&mut self, mut each: impl FnMut(&mut Self, i64, u8) -> Option<()>) -> Option<()> {
        let mut id = 0_i64;
        loop {
            let head = self.byte()?;
            if head == 0 {
                return Some(());
            }
            id = match head >> 4 {
                0 => {
                    let value = self.varint()?;
                    (value >> 1) as i64 ^ -((value & 1) as i64)
                }
                step => id.checked_add(step.into())?,
            };
            each(self, id, head & 0xf)?;
        }
    }

    fn list(&mut self) -> Option<(u64, u8)> {
        let head = self.byte()?;
        let length = if head >> 4 == 15 { self.varint()? } else { u64::from(head >> 4) };
        // An item takes a byte at least.
        (length <= self.rest.len() as u64).then_some((length, head & 0xf))
    }

    fn skip(&mut self, kind: u8, depth: usize) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        match kind {
            // Truth is in the kind itself.
            1 | 2 => {}
            3 => self.take(1)?,
            4..=6 => drop(self.varint()?),
            7 => self.take(8)?,
            8 => {
                let length = self.varint()?;
                self.take(length)?;
            }
            LIST | 10 => {
                let (length, kind) = self.list()?;
                for _ in 0..length {
                    self.item(kind, depth)?;
                }
            }
            11 => {
                let length = self.varint()?;
                if length > 0 {
                    let kinds = self.byte()?;
                    for _ in 0..length {
                        self.item(kinds >> 4, depth)?;
                        self.item(kinds & 0xf, depth)?;
                    }
                }
            }
            STRUCT => self.fields(|reader, _, kind| reader.skip(kind, depth))?,
            _ => return None,
        }
        Some(())
    }

    /// An item of a list, where truth takes a byte.
    fn item(&mut self, kind: u8, depth: usize) -> Option<()> {
        if matches!(kind, 1 | 2) { self.take(1) } else { self.skip(kind, depth) }
    }

    fn take(&mut self, bytes: u64) -> Option<()> {
        self.rest = self.rest.get(usize::try_from(bytes).ok()?..)?;
        Some(())
    }

    /// The elements of a schema, each followed by its children; false where they do not add up.
    fn schema(&mut self) -> Option<bool> {
        let (length, kind) = self.list()?;
        // How many children are to come at each level.
        let mut open: Vec<u64> = vec![1];
        let mut sound = kind == STRUCT;
        for left in (0..length).rev() {
            let mut children = 0;
            self.fields(|reader, id, field| {
                match (id, field) {
                    (5, I32) => children = children.max(reader.number()?),
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
