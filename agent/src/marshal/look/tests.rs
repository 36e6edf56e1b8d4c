//! Samples of every format, what is shown of them, and that no damage to them does harm.

mod binary;
mod samples;
mod tables;
mod wild;

use super::{Body, View, look};
use std::io::Cursor;

/// What is shown of bytes.
fn show(bytes: &[u8], hint: Option<&str>, name: Option<&str>, rows: usize) -> View {
    look(&mut Cursor::new(bytes), bytes.len() as u64, hint, name, rows).unwrap()
}

/// Columns as `name kind`, rows, and the number of all rows.
fn table(view: &View) -> (Vec<String>, Vec<Vec<&str>>, Option<u64>) {
    let Body::Table { columns, rows, total_rows } = &view.body else { panic!("{view:?}") };
    let columns = columns.iter().map(|column| format!("{} {}", column.name, column.kind)).collect();
    (columns, rows.iter().map(|row| row.iter().map(String::as_str).collect()).collect(), *total_rows)
}

fn lines(view: &View) -> &[String] {
    let Body::Text(lines) = &view.body else { panic!("{view:?}") };
    lines
}
