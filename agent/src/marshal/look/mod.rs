//! The beginning of a content, shown by its format.
//!
//! Nothing is executed and memory is bounded whatever the content claims: a header is read up to
//! [`HEADER_LIMIT`], data up to [`DATA_LIMIT`], and a claimed size is checked before memory is taken for it.

mod arrow;
mod batch;
mod cell;
mod claims;
mod csv;
mod detect;
mod guard;
mod hex;
mod json;
mod literal;
mod local;
mod npy;
mod paged;
mod parquet;
mod pickle;
mod plain;
mod safetensors;
#[cfg(test)]
mod tests;
mod window;
mod zip;

use super::MarshalError;
pub use detect::detect;
pub use local::format_of_file;
use std::io::{Read, Seek};
use window::Window;

/// The longest header or footer that is read.
const HEADER_LIMIT: u64 = 16 << 20;
/// The most that is read and unpacked of one content's data.
const DATA_LIMIT: u64 = 256 << 20;
/// No more rows or lines are shown, whatever was asked for.
const MAX_ROWS: usize = 10_000;
/// No more columns are shown.
const MAX_COLUMNS: usize = 100;

/// What there is to see of a content.
#[derive(Debug, serde::Serialize)]
pub struct View {
    /// The format in the manifest's words; `binary` where none is known.
    pub format: String,
    /// What it is in one line, such as `336,776 rows × 19 columns`.
    pub summary: String,
    /// Its beginning.
    pub body: Body,
    /// There is more than is shown.
    pub truncated: bool,
}

/// One column of a table.
#[derive(Debug, serde::Serialize)]
pub struct Column {
    /// Its name, as the content has it.
    pub name: String,
    /// The kind of its values, such as `int64`.
    pub kind: String,
}

/// The beginning of a content in the form that suits its format.
#[derive(Debug, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Body {
    /// Rows of cells, at most 60 characters each.
    Table {
        /// The columns shown, which may be fewer than there are.
        columns: Vec<Column>,
        /// One cell for each column.
        rows: Vec<Vec<String>>,
        /// How many rows there are in all, where that is known without reading all.
        total_rows: Option<u64>,
    },
    /// Lines, without their ends.
    Text(Vec<String>),
    /// A value, cut where it is long.
    Json(serde_json::Value),
    /// A dump of the first bytes.
    Hex(Vec<String>),
}

/// Shows up to `rows` rows or lines of a content of `bytes` bytes.
///
/// The format is told by its first bytes, then by `hint_format` up to a slash, then by `name`. Content that is not
/// what those say is shown as text or bytes, with the reason in the summary; reading fails with what the reader
/// said and nothing else fails.
pub fn look<R: Read + Seek>(
    content: &mut R,
    bytes: u64,
    hint_format: Option<&str>,
    name: Option<&str>,
    rows: usize,
) -> Result<View, MarshalError> {
    let rows = rows.min(MAX_ROWS);
    let mut window = Window::new(content, bytes, name);
    let head = window.head(64)?;
    let format = format_of(&head, hint_format, name);
    window.format = format;
    let found = match format {
        "npy" => npy::look(&mut window, rows),
        "npz" | "zip" => zip::look(&mut window, rows),
        "parquet" => parquet::look(&mut window, rows),
        "arrow" => arrow::look(&mut window, rows),
        "csv" | "tsv" => csv::look(&mut window, rows),
        "json" => json::look(&mut window, rows),
        "jsonl" => json::look_lines(&mut window, rows),
        "safetensors" => safetensors::look(&mut window, rows),
        "pickle" => pickle::look(&mut window, rows),
        "png" | "jpeg" | "gif" | "pdf" | "gzip" | "zstd" => plain::look(&mut window),
        "text" => plain::look_text(&mut window, rows),
        _ => hex::look(&mut window),
    };
    match found {
        Err(MarshalError::Format { format, why }) => {
            let mut view = match plain::look_text(&mut window, rows) {
                Err(MarshalError::Format { .. }) => hex::look(&mut window)?,
                other => other?,
            };
            if format != "text" {
                view.summary = format!("{}, not readable as {format}: {}", view.summary, cell::shorten(&why, 200));
            }
            Ok(view)
        }
        found => found,
    }
}

/// The words that a hint may say.
const KNOWN: &[&str] = &[
    "npy",
    "npz",
    "zip",
    "parquet",
    "arrow",
    "csv",
    "tsv",
    "json",
    "jsonl",
    "safetensors",
    "pickle",
    "png",
    "jpeg",
    "gif",
    "pdf",
    "gzip",
    "zstd",
    "text",
];

fn format_of(head: &[u8], hint: Option<&str>, name: Option<&str>) -> &'static str {
    let hint = hint.and_then(|hint| hint.split('/').next());
    let hint = hint.and_then(|hint| KNOWN.iter().copied().find(|known| *known == hint));
    match (detect(head, None), hint) {
        (Some("zip"), Some("npz")) => "npz",
        (Some("zip"), None) => detect(head, name).unwrap_or("zip"),
        (Some(magic), _) if magic != "text" => magic,
        (_, Some(hint)) => hint,
        _ => detect(head, name).unwrap_or("binary"),
    }
}
