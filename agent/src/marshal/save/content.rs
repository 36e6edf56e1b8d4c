//! Content as the reader thread reads it: from front to end, with its holes; streams.

use super::super::{MarshalError, cut, source::Regular};
use nix::sys::stat::fstat;
use std::{
    io::{self, Read, Write},
    ops::Range,
    path::PathBuf,
};

/// What a stream is called in messages.
const STREAM: &str = "the stream";

/// How many whole chunks the fixed step makes of a hole from `at` to `hole_end`: the content rule makes the same.
///
/// A shorter one counts only where the segment ends with the hole.
pub(super) fn whole_chunks(hole_end: u64, at: u64, end: u64) -> (u64, u32) {
    let hole = hole_end.saturating_sub(at);
    match hole / cut::MAX as u64 {
        0 if hole > 0 && hole_end == end => (1, hole as u32),
        count => (count, cut::MAX as u32),
    }
}

/// Content that is read from front to end.
pub(super) trait Content {
    /// Fills `buffer` from `offset` on, less only where the content ends.
    fn read(&mut self, buffer: &mut [u8], offset: u64) -> Result<usize, MarshalError>;

    /// The end of the hole at `at`, or `at`.
    fn hole_end(&mut self, at: u64) -> u64;
}

/// A regular file, with the last hole that was found in it.
pub(super) struct Holed<'f> {
    file: &'f Regular,
    hole: Range<u64>,
}

impl<'f> Holed<'f> {
    pub(super) fn new(file: &'f Regular) -> Self {
        Self { file, hole: 0..0 }
    }
}

impl Content for Holed<'_> {
    fn read(&mut self, buffer: &mut [u8], offset: u64) -> Result<usize, MarshalError> {
        self.file.read_exact(buffer, offset)?;
        Ok(buffer.len())
    }

    fn hole_end(&mut self, at: u64) -> u64 {
        if !self.file.is_sparse() {
            return at;
        }
        if !self.hole.contains(&at) {
            self.hole = at..self.file.hole_end(at);
        }
        self.hole.end.max(at)
    }
}

/// A stream whose first bytes were read already.
pub(super) struct Stream<'h> {
    pub(super) head: &'h [u8],
    pub(super) reader: Box<dyn Read + Send>,
}

impl Content for Stream<'_> {
    fn read(&mut self, buffer: &mut [u8], _offset: u64) -> Result<usize, MarshalError> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.head.read(&mut buffer[filled..]) {
                Ok(got) if got > 0 => filled += got,
                _ => match self.reader.read(&mut buffer[filled..]) {
                    Ok(0) => break,
                    Ok(got) => filled += got,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(source) => return Err(stream_failed("read", source)),
                },
            }
        }
        Ok(filled)
    }

    fn hole_end(&mut self, at: u64) -> u64 {
        at
    }
}

/// The whole stream in a temporary file without a name.
pub(super) fn spool(head: &[u8], reader: &mut dyn Read) -> Result<Regular, MarshalError> {
    let spooled = tempfile::tempfile().and_then(|mut file| {
        file.write_all(head)?;
        io::copy(reader, &mut file)?;
        let stat = fstat(&file)?;
        Ok((file, stat))
    });
    let (file, stat) = spooled.map_err(|source| stream_failed("copy to a temporary file", source))?;
    Ok(Regular::new(file, PathBuf::from(STREAM), stat))
}

pub(super) fn stream_failed(action: &'static str, source: io::Error) -> MarshalError {
    MarshalError::Io { action, path: PathBuf::from(STREAM), source }
}
