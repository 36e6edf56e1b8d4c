//! Checked reading at places of a content.

use super::MarshalError;
use std::{
    fmt::Display,
    io::{self, Read, Seek, SeekFrom},
    path::PathBuf,
};

/// What is read at once where less is asked for: parsers ask for a few bytes at a time.
const BLOCK: u64 = 64 << 10;

pub(super) trait Source: Read + Seek {}
impl<T: Read + Seek> Source for T {}

/// A content of known length, read by place; going forward is cheap.
pub(super) struct Window<'r> {
    source: &'r mut dyn Source,
    name: PathBuf,
    bytes: u64,
    /// What the content is taken for, for errors.
    pub(super) format: &'static str,
    block: Vec<u8>,
    block_offset: u64,
}

impl<'r> Window<'r> {
    pub(super) fn new<R: Read + Seek>(source: &'r mut R, bytes: u64, name: Option<&str>) -> Self {
        let name = name.unwrap_or("the content").into();
        Self { source, name, bytes, format: "binary", block: Vec::new(), block_offset: 0 }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The error that the content is not of its format.
    pub(super) fn bad(&self, why: impl Display) -> MarshalError {
        MarshalError::Format { format: self.format, why: why.to_string() }
    }

    /// The first bytes, fewer where the content is shorter.
    pub(super) fn head(&mut self, bytes: u64) -> Result<Vec<u8>, MarshalError> {
        self.read_at(0, bytes.min(self.bytes))
    }

    /// Exactly so many bytes at a place; checked to be inside before memory is taken. The caller bounds the length.
    pub(super) fn read_at(&mut self, offset: u64, bytes: u64) -> Result<Vec<u8>, MarshalError> {
        let end = offset.checked_add(bytes).filter(|end| *end <= self.bytes);
        let end = end.ok_or_else(|| self.bad(format!("{bytes} bytes at {offset} are beyond its end")))?;
        if bytes >= BLOCK {
            return self.fetch(offset, bytes);
        }
        let inside = offset >= self.block_offset && end <= self.block_offset + self.block.len() as u64;
        if !inside {
            self.block = self.fetch(offset, BLOCK.min(self.bytes - offset))?;
            self.block_offset = offset;
        }
        let start = (offset - self.block_offset) as usize;
        Ok(self.block[start..start + bytes as usize].to_vec())
    }

    pub(super) fn u8_at(&mut self, offset: u64) -> Result<u8, MarshalError> {
        Ok(self.read_at(offset, 1)?[0])
    }

    pub(super) fn u16_at(&mut self, offset: u64) -> Result<u16, MarshalError> {
        self.array_at(offset).map(u16::from_le_bytes)
    }

    pub(super) fn u32_at(&mut self, offset: u64) -> Result<u32, MarshalError> {
        self.array_at(offset).map(u32::from_le_bytes)
    }

    pub(super) fn u64_at(&mut self, offset: u64) -> Result<u64, MarshalError> {
        self.array_at(offset).map(u64::from_le_bytes)
    }

    fn array_at<const N: usize>(&mut self, offset: u64) -> Result<[u8; N], MarshalError> {
        Ok(self.read_at(offset, N as u64)?.try_into().expect("as many bytes as were asked for"))
    }

    fn fetch(&mut self, offset: u64, bytes: u64) -> Result<Vec<u8>, MarshalError> {
        let mut buffer = vec![0; bytes as usize];
        let read = self.source.seek(SeekFrom::Start(offset)).and_then(|_| self.source.read_exact(&mut buffer));
        match read {
            Ok(()) => Ok(buffer),
            Err(error) => Err(self.failed(error)),
        }
    }

    /// An artifact's content carries what went wrong inside of the error.
    fn failed(&self, error: io::Error) -> MarshalError {
        error.downcast::<MarshalError>().unwrap_or_else(|source| MarshalError::Io {
            action: "read",
            path: self.name.clone(),
            source,
        })
    }
}
