//! numpy's arrays.

mod element;
mod header;

use super::{
    Body, Column, MAX_COLUMNS, MarshalError, View,
    cell::{grouped, shape},
    window::Window,
};
use element::render;
pub(super) use header::Header;

/// The longest value that is read: 60 characters of four bytes and one more.
const VALUE: u64 = 61 * 4;

pub(super) fn look(window: &mut Window<'_>, rows: usize) -> Result<View, MarshalError> {
    let header = Header::read(window, 0)?;
    let lengths = header.shape.clone();
    let order = if header.fortran && lengths.len() > 1 { ", column by column" } else { "" };
    let summary = format!("{} array {}{order}", header.kind, shape(&lengths));
    let total = lengths.first().copied().unwrap_or(1);
    let width = lengths.iter().skip(1).try_fold(1_u64, |all, length| all.checked_mul(*length));
    let width = width.ok_or_else(|| window.bad("its shape is larger than any file"))?;
    let view = |columns: Vec<Column>, rows: Vec<Vec<String>>| {
        let truncated = (rows.len() as u64) < total || (columns.len() as u64) < width;
        let body = Body::Table { columns, rows, total_rows: Some(total) };
        View { format: "npy".to_owned(), summary, body, truncated }
    };
    let columns = width.min(MAX_COLUMNS as u64) as usize;
    if header.item_bytes == 0 || !header.is_readable() {
        // Objects are a pickle, and fields have a layout of their own.
        return Ok(view(Vec::new(), Vec::new()));
    }
    let heads = (0..columns as u64).map(|index| Column {
        name: match lengths.len() {
            0 | 1 => "value".to_owned(),
            _ => place(index, &lengths[1..]),
        },
        kind: header.kind.clone(),
    });
    let heads: Vec<Column> = heads.collect();
    let mut cells = vec![vec![String::new(); columns]; if columns == 0 { 0 } else { total.min(rows as u64) as usize }];
    // In the order of the file, as going back is dear: Fortran's order has the first axis innermost.
    let mut places = Vec::new();
    for row in 0..cells.len() {
        for column in 0..columns {
            places.push((header.index(row as u64, column as u64), row, column));
        }
    }
    places.sort_unstable();
    for (index, row, column) in places {
        let offset = index.and_then(|index| index.checked_mul(header.item_bytes));
        let offset = offset.and_then(|offset| offset.checked_add(header.data_offset));
        let offset = offset.ok_or_else(|| window.bad("its shape is larger than any file"))?;
        let value = window.read_at(offset, header.item_bytes.min(VALUE))?;
        cells[row][column] = render(&header, value);
    }
    Ok(view(heads, cells))
}

/// The place of a column in all axes but the first: `2` or `0, 2`.
fn place(mut index: u64, lengths: &[u64]) -> String {
    let mut place: Vec<String> = Vec::new();
    for length in lengths.iter().rev() {
        place.push(grouped(index % length));
        index /= length;
    }
    place.reverse();
    super::cell::cell(&place.join(", "))
}
