//! Arrow IPC files: bodies of record batches and dictionaries, and the large buffers in them, by the footer.

use super::{LARGE_PART, ReadAt, Rule, STARTS, Start, in_order, le_u32, table};
use arrow::ipc::{Block, RecordBatch, root_as_footer, root_as_message};

/// The length of the footer and the magic bytes.
const TAIL: u64 = 10;
/// The marker in front of a message's length, since version 0.15.
const CONTINUATION: u32 = 0xffff_ffff;

pub(super) fn starts(content: &(impl ReadAt + ?Sized), bytes: u64) -> Option<Vec<Start>> {
    let tail_at = bytes.checked_sub(TAIL)?;
    let tail = table(content, tail_at, TAIL)?;
    if tail[4..] != *b"ARROW1" {
        return None;
    }
    let footer_at = tail_at.checked_sub(u64::from(le_u32(&tail, 0)?))?;
    let footer = table(content, footer_at, tail_at - footer_at)?;
    let footer = root_as_footer(&footer).ok()?;
    let blocks = [footer.dictionaries(), footer.recordBatches()];
    let bodies: Option<Vec<Body>> = blocks.into_iter().flatten().flatten().map(Body::of).collect();
    let mut bodies = bodies.filter(|bodies| bodies.len() <= STARTS)?;
    bodies.sort_unstable_by_key(|body| body.message);
    let sound =
        bodies.is_sorted_by(|a, b| a.end <= b.message) && bodies.last().is_none_or(|last| last.end <= footer_at);
    let mut starts = Vec::new();
    for body in bodies.iter().filter(|_| sound) {
        body.add_starts(content, &mut starts)?;
    }
    sound.then_some(starts)
}

/// Where a message and its body lie.
struct Body {
    message: u64,
    start: u64,
    end: u64,
}

impl Body {
    fn of(block: &Block) -> Option<Self> {
        let message = u64::try_from(block.offset()).ok()?;
        let start = message.checked_add(u64::try_from(block.metaDataLength()).ok()?)?;
        let end = start.checked_add(u64::try_from(block.bodyLength()).ok()?)?;
        Some(Self { message, start, end })
    }

    fn add_starts(&self, content: &(impl ReadAt + ?Sized), starts: &mut Vec<Start>) -> Option<()> {
        let metadata = table(content, self.message, self.start - self.message)?;
        let prefix = if le_u32(&metadata, 0)? == CONTINUATION { 8 } else { 4 };
        let message = root_as_message(metadata.get(prefix..)?).ok()?;
        let batch = message.header_as_record_batch();
        let batch = batch.or_else(|| message.header_as_dictionary_batch().and_then(|dictionary| dictionary.data()))?;
        let buffers = in_order(large_buffers(&batch)?, self.end - self.start)?;
        if starts.len() + buffers.len() >= STARTS {
            return None;
        }
        if self.start < self.end && buffers.first().is_none_or(|first| first.0 > 0) {
            starts.push(Start { at: self.start, rule: Rule::Content });
        }
        starts.extend(buffers.into_iter().map(|(begin, _)| Start { at: self.start + begin, rule: Rule::Fixed }));
        Some(())
    }
}

/// Begin and end in the body; buffers may be shared by columns.
fn large_buffers(batch: &RecordBatch<'_>) -> Option<Vec<(u64, u64)>> {
    let mut parts = Vec::new();
    for buffer in batch.buffers().into_iter().flatten() {
        let (begin, bytes) = (u64::try_from(buffer.offset()).ok()?, u64::try_from(buffer.length()).ok()?);
        let end = begin.checked_add(bytes)?;
        if bytes >= LARGE_PART {
            parts.push((begin, end));
        }
    }
    parts.sort_unstable();
    parts.dedup();
    Some(parts)
}

#[cfg(test)]
mod tests {
    use super::super::{Format, split};
    use super::Rule;
    use arrow::{
        array::{Int64Array, RecordBatch, StringArray},
        ipc::writer::FileWriter,
    };
    use std::sync::Arc;

    fn file() -> Vec<u8> {
        let numbers = Int64Array::from_iter_values(0..20_000);
        let text = StringArray::from_iter_values((0..20_000).map(|i| format!("row {i}")));
        let columns = [("a", Arc::new(numbers) as _), ("b", Arc::new(text) as _)];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let mut content = Vec::new();
        let mut writer = FileWriter::try_new(&mut content, &batch.schema()).unwrap();
        writer.write(&batch).unwrap();
        writer.write(&batch.slice(0, 100)).unwrap();
        writer.finish().unwrap();
        drop(writer);
        content
    }

    #[test]
    fn large_buffers_begin_typed_segments() {
        let content = file();
        let split = split(&content[..], content.len() as u64);
        assert_eq!(split.format, Some(Format::Arrow));
        let typed: Vec<_> = split.segments.iter().filter(|s| s.rule == Rule::Fixed).collect();
        // 160,000 bytes of numbers, 80,004 of offsets, about 180 KB of text.
        assert_eq!(typed.len(), 3, "{split:?}");
        let first = typed[0].start as usize;
        assert_eq!(content[first..first + 16], [0i64.to_le_bytes(), 1i64.to_le_bytes()].concat());
    }

    #[test]
    fn any_flipped_byte_of_the_tables_is_no_error() {
        let content = file();
        let bytes = content.len() as u64;
        let tables = (0..700).chain(content.len() - 700..content.len());
        for at in tables {
            let mut flipped = content.clone();
            flipped[at] ^= 0x55;
            let segments = split(&flipped[..], bytes).segments;
            assert!(segments.is_sorted_by(|a, b| a.end == b.start));
            assert_eq!((segments[0].start, segments.last().unwrap().end), (0, bytes));
        }
    }
}
