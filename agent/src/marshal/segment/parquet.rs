//! Parquet: column chunks, by the footer.
//!
//! The footer is Thrift in its compact encoding. Of it only the place of each column chunk is read, by a parser that
//! takes no memory for what it passes over: where segments begin is format, and must not change with a library's
//! version.

use super::{
    super::thrift::{Compact, I64, LIST, STRUCT},
    ReadAt, Rule, STARTS, Start, in_order, le_u32, table,
};

const TAIL: u64 = 8;
/// The deepest nesting that is passed over; Parquet's own types nest less than ten deep.
const DEPTH: u32 = 32;

pub(super) fn starts(content: &(impl ReadAt + ?Sized), bytes: u64) -> Option<Vec<Start>> {
    let tail_at = bytes.checked_sub(TAIL)?;
    let tail = table(content, tail_at, TAIL)?;
    if tail[4..] != *b"PAR1" {
        return None;
    }
    let footer_at = tail_at.checked_sub(u64::from(le_u32(&tail, 0)?))?;
    let footer = table(content, footer_at, tail_at - footer_at)?;
    let mut parts = Vec::new();
    file_meta(&mut Compact { rest: &footer }, &mut parts)?;
    let parts = in_order(parts, footer_at)?;
    parts.first().is_none_or(|first| first.0 >= 4).then_some(())?;
    Some(parts.into_iter().map(|(at, _)| Start { at, rule: Rule::Content }).collect())
}

fn file_meta(input: &mut Compact<'_>, parts: &mut Vec<(u64, u64)>) -> Option<()> {
    const ROW_GROUPS: i16 = 4;
    const COLUMNS: i16 = 1;
    const META_DATA: i16 = 3;
    input.each_field(|input, id, kind| match (id, kind) {
        (ROW_GROUPS, LIST) => input.each_struct(|input| {
            input.each_field(|input, id, kind| match (id, kind) {
                (COLUMNS, LIST) => input.each_struct(|input| {
                    input.each_field(|input, id, kind| match (id, kind) {
                        (META_DATA, STRUCT) => column(input, parts),
                        _ => input.skip(kind, DEPTH),
                    })
                }),
                _ => input.skip(kind, DEPTH),
            })
        }),
        _ => input.skip(kind, DEPTH),
    })
}

fn column(input: &mut Compact<'_>, parts: &mut Vec<(u64, u64)>) -> Option<()> {
    const COMPRESSED: i16 = 7;
    const DATA_PAGE: i16 = 9;
    const DICTIONARY_PAGE: i16 = 11;
    let (mut bytes, mut data, mut dictionary) = (None, None, None);
    input.each_field(|input, id, kind| {
        let place = match (id, kind) {
            (COMPRESSED, I64) => &mut bytes,
            (DATA_PAGE, I64) => &mut data,
            (DICTIONARY_PAGE, I64) => &mut dictionary,
            _ => return input.skip(kind, DEPTH),
        };
        *place = Some(input.natural()?);
        Some(())
    })?;
    // Some writers say 0 where there is no dictionary.
    let start = dictionary.filter(|at| *at > 0).map_or(data?, |at| at.min(data.unwrap_or(at)));
    let end = start.checked_add(bytes?)?;
    if parts.len() == STARTS {
        return None;
    }
    if end > start {
        parts.push((start, end));
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::super::{Format, split};
    use arrow::array::{Float64Array, Int64Array, RecordBatch, StringArray};
    use parquet::{arrow::ArrowWriter, file::reader::FileReader, file::serialized_reader::SerializedFileReader};
    use std::sync::Arc;

    fn file() -> Vec<u8> {
        let rows = 40_000;
        let numbers = Int64Array::from_iter_values((0..rows).map(|i| i * 7919 % 10_007));
        let noise = Float64Array::from_iter_values((0..rows).map(|i| (i as f64).sin()));
        let text = StringArray::from_iter_values((0..rows).map(|i| format!("{}", i * i)));
        let batch = RecordBatch::try_from_iter([
            ("a", Arc::new(numbers) as _),
            ("b", Arc::new(noise) as _),
            ("c", Arc::new(text) as _),
        ]);
        let batch = batch.unwrap();
        let mut content = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut content, batch.schema(), None).unwrap();
        for half in [batch.slice(0, 20_000), batch.slice(20_000, 20_000)] {
            writer.write(&half).unwrap();
            writer.flush().unwrap();
        }
        writer.close().unwrap();
        content
    }

    #[test]
    fn every_column_chunk_begins_a_segment() {
        let content = file();
        let reader = SerializedFileReader::new(parquet_bytes(&content)).unwrap();
        let groups = reader.metadata().row_groups().iter();
        let want: Vec<u64> = groups.flat_map(|group| group.columns().iter().map(|c| c.byte_range().0)).collect();
        assert_eq!(want.len(), 6);
        let split = split(&content[..], content.len() as u64);
        assert_eq!(split.format, Some(Format::Parquet));
        assert_eq!(split.segments[1..].iter().map(|s| s.start).collect::<Vec<_>>(), want);
    }

    fn parquet_bytes(content: &[u8]) -> std::fs::File {
        use std::io::Write;
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        file
    }

    #[test]
    fn any_flipped_byte_of_the_footer_is_no_error_and_no_segment_leaves_the_content() {
        let content = file();
        let bytes = content.len() as u64;
        for back in 1..2000.min(content.len()) {
            let mut flipped = content.clone();
            let at = content.len() - back;
            flipped[at] ^= 0x55;
            let segments = split(&flipped[..], bytes).segments;
            assert!(segments.is_sorted_by(|a, b| a.end == b.start));
            assert_eq!((segments[0].start, segments.last().unwrap().end), (0, bytes));
        }
    }
}
