//! Thrift's compact encoding, as much as it takes to read Parquet's footers and pages without its library.
//!
//! Where segments begin is format and must not change with a library's version, and what a file claims has to be
//! checked before its reader takes memory for it.

const BOOLEAN_TRUE: u8 = 1;
const BOOLEAN_FALSE: u8 = 2;
const I8: u8 = 3;
const I16: u8 = 4;
pub(super) const I32: u8 = 5;
pub(super) const I64: u8 = 6;
const DOUBLE: u8 = 7;
const BINARY: u8 = 8;
pub(super) const LIST: u8 = 9;
const SET: u8 = 10;
const MAP: u8 = 11;
pub(super) const STRUCT: u8 = 12;

/// A value in Thrift's compact encoding, read from the front.
///
/// Every step takes at least one byte and no memory, so that work is bounded by the bytes; `None` where they are cut or
/// make no sense. Source: the Thrift compact protocol specification.
pub(super) struct Compact<'a> {
    pub(super) rest: &'a [u8],
}

impl Compact<'_> {
    pub(super) fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn pass(&mut self, bytes: u64) -> Option<()> {
        self.rest = self.rest.get(usize::try_from(bytes).ok()?..)?;
        Some(())
    }

    pub(super) fn varint(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    pub(super) fn zigzag(&mut self) -> Option<i64> {
        let value = self.varint()?;
        Some((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// A number that is not below zero.
    pub(super) fn natural(&mut self) -> Option<u64> {
        u64::try_from(self.zigzag()?).ok()
    }

    /// Calls `field` for each field of a struct; it must read the field's value.
    pub(super) fn each_field(&mut self, mut field: impl FnMut(&mut Self, i16, u8) -> Option<()>) -> Option<()> {
        let mut id = 0i16;
        loop {
            let head = self.byte()?;
            if head == 0 {
                return Some(());
            }
            id = match head >> 4 {
                0 => i16::try_from(self.zigzag()?).ok()?,
                delta => id.checked_add(i16::from(delta))?,
            };
            field(self, id, head & 0xf)?;
        }
    }

    /// A list's length and the kind of its items.
    pub(super) fn list_head(&mut self) -> Option<(u64, u8)> {
        let head = self.byte()?;
        let count = if head >> 4 == 15 { self.varint()? } else { u64::from(head >> 4) };
        // An item takes a byte at least.
        (count <= self.rest.len() as u64).then_some((count, head & 0xf))
    }

    /// Calls `element` for each struct of a list; it must read the struct.
    pub(super) fn each_struct(&mut self, mut element: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        let (count, kind) = self.list_head()?;
        if kind != STRUCT && count > 0 {
            return None;
        }
        (0..count).try_for_each(|_| element(self))
    }

    /// Passes over a value that nests less than `depth` deep.
    pub(super) fn skip(&mut self, kind: u8, depth: u32) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        match kind {
            BOOLEAN_TRUE | BOOLEAN_FALSE => Some(()),
            I8 => self.pass(1),
            I16 | I32 | I64 => self.varint().map(|_| ()),
            DOUBLE => self.pass(8),
            BINARY => self.varint().and_then(|bytes| self.pass(bytes)),
            LIST | SET => {
                let (count, kind) = self.list_head()?;
                (0..count).try_for_each(|_| self.skip_element(kind, depth))
            }
            MAP => match self.varint()? {
                0 => Some(()),
                count => {
                    let kinds = self.byte()?;
                    (0..count).try_for_each(|_| {
                        self.skip_element(kinds >> 4, depth)?;
                        self.skip_element(kinds & 0xf, depth)
                    })
                }
            },
            STRUCT => self.each_field(|input, _, kind| input.skip(kind, depth)),
            _ => None,
        }
    }

    /// A boolean takes a byte in a container and none in a field.
    fn skip_element(&mut self, kind: u8, depth: u32) -> Option<()> {
        if matches!(kind, BOOLEAN_TRUE | BOOLEAN_FALSE) { self.pass(1) } else { self.skip(kind, depth) }
    }
}
