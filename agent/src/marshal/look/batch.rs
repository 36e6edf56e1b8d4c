//! Arrow's columns as cells.

use super::{
    Column, MAX_COLUMNS,
    cell::{Bounded, WIDTH, cell},
};
use arrow::{
    array::RecordBatch,
    datatypes::{DataType, Schema},
    error::ArrowError,
    util::display::{ArrayFormatter, FormatOptions},
};
use std::fmt::Write;

/// The columns of a schema, as many as are shown.
pub(super) fn columns(schema: &Schema) -> Vec<Column> {
    let column = |name: &str, data_type: &DataType| Column { name: cell(name), kind: kind(data_type) };
    schema.fields().iter().take(MAX_COLUMNS).map(|field| column(field.name(), field.data_type())).collect()
}

fn kind(data_type: &DataType) -> String {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "text".to_owned(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "bytes".to_owned(),
        DataType::Boolean => "bool".to_owned(),
        DataType::Dictionary(_, values) => format!("category of {}", kind(values)),
        other => {
            let mut text = Bounded::new(WIDTH);
            // Being full is no failure.
            let _ = write!(text, "{other}");
            text.finish().to_lowercase()
        }
    }
}

/// Appends rows until there are `rows`. No cell is written beyond its width, however long its value.
pub(super) fn append(batch: &RecordBatch, rows: usize, shown: &mut Vec<Vec<String>>) -> Result<(), ArrowError> {
    let options = FormatOptions::default().with_display_error(true);
    let columns = batch.columns().iter().take(MAX_COLUMNS);
    let formatters: Vec<ArrayFormatter<'_>> =
        columns.map(|column| ArrayFormatter::try_new(column, &options)).collect::<Result<_, _>>()?;
    for row in 0..batch.num_rows().min(rows.saturating_sub(shown.len())) {
        let mut cells = Vec::with_capacity(formatters.len());
        for formatter in &formatters {
            let mut text = Bounded::new(WIDTH);
            let written = formatter.value(row).write(&mut text);
            if !text.is_full() {
                written?;
            }
            cells.push(text.finish());
        }
        shown.push(cells);
    }
    Ok(())
}
