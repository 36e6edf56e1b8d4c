//! Parquet's tables: schema and rows from the footer, the first rows from their pages.

use super::{
    Body, Column, HEADER_LIMIT, MAX_COLUMNS, MarshalError, View, batch,
    cell::{count, grouped},
    claims,
    guard::guarded,
    paged::{Pages, pages},
    window::Window,
};
use parquet::{
    arrow::{
        ProjectionMask,
        arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder},
    },
    errors::ParquetError,
    file::metadata::ParquetMetaDataReader,
};
use std::{sync::Arc, thread};

/// The magic at the end and the footer's length before it.
const TAIL: u64 = 8;

struct Table {
    columns: Vec<Column>,
    all_columns: usize,
    total: u64,
    /// Why there are no rows, where there should be some.
    rows: Result<Vec<Vec<String>>, ParquetError>,
}

pub(super) fn look(window: &mut Window<'_>, rows: usize) -> Result<View, MarshalError> {
    let tail = window.bytes().checked_sub(TAIL).ok_or_else(|| window.bad("it ends too soon"))?;
    if window.read_at(tail + 4, 4)? != b"PAR1" {
        return Err(window.bad("it does not end as a table does"));
    }
    let length = u64::from(window.u32_at(tail)?);
    if length > HEADER_LIMIT {
        return Err(window.bad(format!("its footer claims {length} bytes")));
    }
    let start = tail.checked_sub(length).ok_or_else(|| window.bad("its footer is longer than it"))?;
    let footer = window.read_at(start, length)?;
    if !claims::is_schema_sound(&footer) {
        return Err(window.bad("its schema does not add up"));
    }
    let (pages, server) = pages(window.bytes());
    let table = thread::scope(|scope| {
        let parser = scope.spawn(move || guarded(|| read(&footer, pages, rows)));
        let served = server.run(window);
        // Whatever makes the parser panic is in the content.
        let table = parser.join().ok().flatten().ok_or_else(|| window.bad("its pages contradict themselves"));
        served.and(table)
    })?;
    let table = table.map_err(|error| window.bad(error))?;
    let mut summary = format!("{} rows × {}", grouped(table.total), count(table.all_columns as u64, "column"));
    let rows = table.rows.unwrap_or_else(|error| {
        summary = format!("{summary}, no preview: {}", super::cell::shorten(&error.to_string(), 200));
        Vec::new()
    });
    let truncated = (rows.len() as u64) < table.total || table.columns.len() < table.all_columns;
    let body = Body::Table { columns: table.columns, rows, total_rows: Some(table.total) };
    Ok(View { format: "parquet".to_owned(), summary, body, truncated })
}

fn read(footer: &[u8], pages: Pages, rows: usize) -> Result<Table, ParquetError> {
    let metadata = Arc::new(ParquetMetaDataReader::decode_metadata(footer)?);
    let total = u64::try_from(metadata.file_metadata().num_rows()).unwrap_or(0);
    let options = ArrowReaderOptions::new();
    // The schema that Arrow's writers add is a hint; without it the kinds are less exact.
    let metadata = ArrowReaderMetadata::try_new(Arc::clone(&metadata), options.clone())
        .or_else(|_| ArrowReaderMetadata::try_new(metadata, options.with_skip_arrow_metadata(true)))?;
    let columns = batch::columns(metadata.schema());
    let all_columns = metadata.schema().fields().len();
    let shown = read_rows(metadata, pages, rows);
    Ok(Table { columns, all_columns, total, rows: shown })
}

fn read_rows(metadata: ArrowReaderMetadata, pages: Pages, rows: usize) -> Result<Vec<Vec<String>>, ParquetError> {
    let mut shown = Vec::new();
    if rows == 0 {
        return Ok(shown);
    }
    let all = metadata.parquet_schema().root_schema().get_fields().len();
    let mask = ProjectionMask::roots(metadata.parquet_schema(), 0..all.min(MAX_COLUMNS));
    let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(pages, metadata)
        .with_projection(mask)
        .with_limit(rows)
        // A small page may stand for long values over and over; one row at a time keeps them apart.
        .with_batch_size(1)
        .build()?;
    for batch in reader {
        batch::append(&batch?, rows, &mut shown)?;
    }
    Ok(shown)
}
