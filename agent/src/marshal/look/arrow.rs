//! Arrow's files and streams. A file is a stream between its magic and a footer.

use super::{
    Body, Column, DATA_LIMIT, HEADER_LIMIT, MarshalError, View, batch,
    cell::{count, grouped},
    guard::guarded,
    window::Window,
};
use arrow::{
    buffer::Buffer,
    ipc::{Message, RecordBatch, reader::StreamDecoder, root_as_footer, root_as_message},
};

const MAGIC: &[u8] = b"ARROW1";
/// The magic at the end and the footer's length before it.
const TAIL: u64 = 10;
const MARKER: [u8; 4] = [0xff; 4];
/// The widest alignment of writers.
const ALIGNMENT: u64 = 64;
/// Batches whose rows are summed up; each costs a read.
const BATCHES: usize = 1000;
/// The longest description of one batch that is read for its rows.
const BATCH_HEADER: u64 = 1 << 20;

pub(super) fn look(window: &mut Window<'_>, rows: usize) -> Result<View, MarshalError> {
    // The decoder trusts some of what it is given; what it holds is thrown away, and the window stays whole.
    guarded(|| read(window, rows)).unwrap_or_else(|| Err(window.bad("its messages contradict themselves")))
}

fn read(window: &mut Window<'_>, rows: usize) -> Result<View, MarshalError> {
    let footer = if window.head(8)?.starts_with(MAGIC) { Some(footer(window)?) } else { None };
    let (start, end) = match &footer {
        Some((end, _)) => (stream_start(window, *end)?, *end),
        None => (0, window.bytes()),
    };
    let mut stream = Stream { decoder: StreamDecoder::new(), offset: start, end, left: DATA_LIMIT };
    let (mut shown, mut seen) = (Vec::new(), 0_u64);
    let next = loop {
        if stream.decoder.schema().is_some() && shown.len() >= rows {
            break Next::Stop;
        }
        let next = stream.next(window, |batch| {
            seen = seen.saturating_add(batch.num_rows() as u64);
            batch::append(batch, rows, &mut shown)
        })?;
        if !matches!(next, Next::Read) {
            break next;
        }
    };
    let is_stopped = matches!(next, Next::Stop);
    let total = match &footer {
        _ if !is_stopped => Some(seen),
        Some((_, footer)) => total_rows(window, footer)?,
        None => None,
    };
    let schema = stream.decoder.schema().ok_or_else(|| window.bad("it has no schema"))?;
    let all = schema.fields().len();
    let columns: Vec<Column> = batch::columns(&schema);
    let wide = count(all as u64, "column");
    let mut summary = match total {
        Some(total) => format!("{} rows × {wide}", grouped(total)),
        None => wide,
    };
    if is_stopped && shown.len() < rows {
        summary.push_str(", its batches too large to preview");
    }
    let truncated = columns.len() < all || total.is_none_or(|total| total > shown.len() as u64);
    Ok(View {
        format: "arrow".to_owned(),
        summary,
        body: Body::Table { columns, rows: shown, total_rows: total },
        truncated,
    })
}

/// Where the stream inside of a file starts: its magic is padded to 8 bytes, or to as many as the writer aligns by.
fn stream_start(window: &mut Window<'_>, end: u64) -> Result<u64, MarshalError> {
    let mut start = 8;
    while start < ALIGNMENT.min(end) && window.u64_at(start)? == 0 {
        start += 8;
    }
    Ok(start)
}

enum Next {
    Read,
    End,
    /// More would be too large, or is not wanted.
    Stop,
}

/// Messages one by one, each checked before the decoder sees it.
struct Stream {
    decoder: StreamDecoder,
    offset: u64,
    end: u64,
    /// How much may still be read and unpacked.
    left: u64,
}

impl Stream {
    fn next(
        &mut self,
        window: &mut Window<'_>,
        mut each: impl FnMut(&arrow::array::RecordBatch) -> Result<(), arrow::error::ArrowError>,
    ) -> Result<Next, MarshalError> {
        if self.offset >= self.end {
            return Ok(Next::End);
        }
        let mut length = window.u32_at(self.offset)?;
        let mut start = self.offset + 4;
        // Streams of old versions have no marker.
        if length == u32::MAX {
            length = window.u32_at(start)?;
            start += 4;
        }
        let length = u64::from(length);
        if length == 0 {
            return Ok(Next::End);
        }
        if length > HEADER_LIMIT {
            return Err(window.bad(format!("a message claims {length} bytes")));
        }
        let header = window.read_at(start, length)?;
        let message = root_as_message(&header).map_err(|error| window.bad(error))?;
        let bytes = u64::try_from(message.bodyLength()).map_err(|_| window.bad("a message is shorter than nothing"))?;
        if bytes > self.left {
            return Ok(Next::Stop);
        }
        let body = window.read_at(start + length, bytes)?;
        let cost = unpacked(&message, &body).and_then(|unpacked| unpacked.checked_add(bytes));
        match cost.and_then(|cost| self.left.checked_sub(cost)) {
            Some(left) => self.left = left,
            None => return Ok(Next::Stop),
        }
        self.offset = start + length + bytes;
        // The decoder takes a message up when the next one starts, so each is followed by the next one's marker. A
        // body of its own is aligned, so that the decoder need not copy it.
        let prefix = (length as u32).to_le_bytes().to_vec();
        for part in [prefix, header, body, MARKER.to_vec()] {
            let mut part = Buffer::from_vec(part);
            while !part.is_empty() {
                if let Some(batch) = self.decoder.decode(&mut part).map_err(|error| window.bad(error))? {
                    each(&batch).map_err(|error| window.bad(error))?;
                }
            }
        }
        Ok(Next::Read)
    }
}

/// What a message's compressed buffers claim to unpack to; `None` beyond all limits.
fn unpacked(message: &Message<'_>, body: &[u8]) -> Option<u64> {
    let dictionary = message.header_as_dictionary_batch().and_then(|dictionary| dictionary.data());
    let Some(batch) = message.header_as_record_batch().or(dictionary) else { return Some(0) };
    if batch.compression().is_none() {
        return Some(0);
    }
    claims(&batch, body).try_fold(0_u64, |all, claim| all.checked_add(claim))
}

fn claims(batch: &RecordBatch<'_>, body: &[u8]) -> impl Iterator<Item = u64> {
    let buffers = batch.buffers().into_iter().flatten();
    buffers.filter_map(|buffer| {
        let start = usize::try_from(buffer.offset()).ok()?;
        let claim = body.get(start..start.checked_add(8)?)?;
        // -1 says that the buffer is stored as it is.
        u64::try_from(i64::from_le_bytes(claim.try_into().expect("eight bytes"))).ok()
    })
}

/// Where the footer starts, and its bytes.
fn footer(window: &mut Window<'_>) -> Result<(u64, Vec<u8>), MarshalError> {
    let bytes = window.bytes();
    let tail = bytes.checked_sub(TAIL).ok_or_else(|| window.bad("it ends too soon"))?;
    if window.read_at(tail + 4, 6)? != MAGIC {
        return Err(window.bad("it does not end as a file does"));
    }
    let length = u64::from(window.u32_at(tail)?);
    if length > HEADER_LIMIT {
        return Err(window.bad(format!("its footer claims {length} bytes")));
    }
    let start = tail.checked_sub(length).ok_or_else(|| window.bad("its footer is longer than it"))?;
    Ok((start, window.read_at(start, length)?))
}

/// The rows of all batches; `None` where there are too many to ask each.
fn total_rows(window: &mut Window<'_>, footer: &[u8]) -> Result<Option<u64>, MarshalError> {
    let footer = root_as_footer(footer).map_err(|error| window.bad(error))?;
    let Some(blocks) = footer.recordBatches() else { return Ok(Some(0)) };
    if blocks.len() > BATCHES {
        return Ok(None);
    }
    let mut total = 0_u64;
    for block in blocks {
        let (offset, length) = (u64::try_from(block.offset()).ok(), u64::try_from(block.metaDataLength()).ok());
        let (Some(offset), Some(length)) = (offset, length.filter(|length| (8..=BATCH_HEADER).contains(length))) else {
            return Ok(None);
        };
        let header = window.read_at(offset, length)?;
        let header = if header.starts_with(&MARKER) { &header[8..] } else { &header[4..] };
        let rows = root_as_message(header).ok().and_then(|message| message.header_as_record_batch());
        let rows = rows.and_then(|batch| u64::try_from(batch.length()).ok());
        total = match rows.and_then(|rows| total.checked_add(rows)) {
            Some(total) => total,
            None => return Ok(None),
        };
    }
    Ok(Some(total))
}
