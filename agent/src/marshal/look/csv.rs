//! Tables in text: a delimiter between cells, quotes around those that need them.

use super::{
    Body, Column, MAX_COLUMNS, MarshalError, View,
    cell::{cell, count, grouped},
    plain::read_text,
    window::Window,
};

/// How much of a table is read.
const LIMIT: u64 = 1 << 20;
const DELIMITERS: &[char] = &[',', ';', '\t', '|'];
/// How many rows tell the delimiter and the kinds of columns.
const SAMPLE: usize = 100;

pub(super) fn look(window: &mut Window<'_>, rows: usize) -> Result<View, MarshalError> {
    let (text, whole) = read_text(window, LIMIT)?;
    let delimiter = if window.format == "tsv" { '\t' } else { sniff(&text) };
    let mut records: Vec<Vec<String>> = Records { rest: &text, delimiter }.take(rows.max(SAMPLE) + 1).collect();
    let mut others = Records { rest: &text, delimiter }.skip(records.len()).count() as u64;
    if !whole && others == 0 {
        // The last one read may be cut.
        records.pop();
    }
    let width = records.iter().map(Vec::len).max().unwrap_or(0);
    let names = has_head(&records).then(|| records.remove(0));
    let kind = |column: usize| kind(records.iter().take(SAMPLE).filter_map(|record| record.get(column)));
    let columns: Vec<Column> = (0..width.min(MAX_COLUMNS))
        .map(|index| Column {
            name: match &names {
                Some(names) => cell(names.get(index).map_or("", String::as_str)),
                None => (index + 1).to_string(),
            },
            kind: kind(index).to_owned(),
        })
        .collect();
    others += records.len() as u64;
    let row = |record: &Vec<String>| {
        (0..columns.len()).map(|index| cell(record.get(index).map_or("", String::as_str))).collect()
    };
    let shown: Vec<Vec<String>> = records.iter().take(rows).map(row).collect();
    let wide = count(width as u64, "column");
    let summary = match whole {
        true => format!("{} rows × {wide}", grouped(others)),
        false => format!("{wide}, {}", count(window.bytes(), "byte")),
    };
    let truncated = !whole || (shown.len() as u64) < others || columns.len() < width;
    let body = Body::Table { columns, rows: shown, total_rows: whole.then_some(others) };
    Ok(View { format: window.format.to_owned(), summary, body, truncated })
}

/// The delimiter that gives the most columns while the first lines agree; a comma where none does.
fn sniff(text: &str) -> char {
    let score = |delimiter: char| {
        let mut widths = Records { rest: text, delimiter }.take(10).map(|record| record.len());
        let first = widths.next().unwrap_or(1);
        // The last of them may be cut or short.
        let agree = widths.filter(|width| *width == first).count();
        (first > 1).then_some((agree, first))
    };
    let best = DELIMITERS.iter().filter_map(|delimiter| score(*delimiter).map(|score| (score, *delimiter)));
    best.fold(None::<((usize, usize), char)>, |best, next| match best {
        Some(best) if best.0 >= next.0 => Some(best),
        _ => Some(next),
    })
    .map_or(',', |(_, delimiter)| delimiter)
}

/// A head has a text in each cell, none of them a value of another kind.
fn has_head(records: &[Vec<String>]) -> bool {
    let Some(first) = records.first() else { return false };
    let is_name = |text: &String| kind([text].into_iter()) == "text";
    // An index written by pandas has no name.
    first.iter().skip(1).all(is_name) && (first[0].is_empty() && first.len() > 1 || is_name(&first[0]))
}

/// What all values of a column are; empty ones do not count.
fn kind<'t>(values: impl Iterator<Item = &'t String>) -> &'static str {
    let kind_of = |text: &str| {
        if text.parse::<i64>().is_ok() {
            "int64"
        } else if text.parse::<f64>().is_ok() {
            "float64"
        } else if matches!(text, "true" | "false" | "True" | "False" | "TRUE" | "FALSE") {
            "bool"
        } else {
            "text"
        }
    };
    let kinds = values.map(|value| value.trim()).filter(|value| !value.is_empty()).map(kind_of);
    let all = kinds.fold(None, |all, kind| match (all, kind) {
        (None, kind) => Some(kind),
        (Some(all), kind) if all == kind => Some(all),
        (Some("int64" | "float64"), "int64" | "float64") => Some("float64"),
        _ => Some("text"),
    });
    all.unwrap_or("empty")
}

/// The rows of a text; empty lines are left out.
struct Records<'t> {
    rest: &'t str,
    delimiter: char,
}

impl Iterator for Records<'_> {
    type Item = Vec<String>;

    fn next(&mut self) -> Option<Vec<String>> {
        self.rest = self.rest.trim_start_matches(['\r', '\n']);
        if self.rest.is_empty() {
            return None;
        }
        let (mut record, mut text, mut quoted) = (Vec::new(), String::new(), false);
        let mut characters = self.rest.char_indices().peekable();
        let mut end = self.rest.len();
        while let Some((at, character)) = characters.next() {
            match character {
                '"' if quoted && matches!(characters.peek(), Some((_, '"'))) => {
                    characters.next();
                    text.push('"');
                }
                '"' if quoted => quoted = false,
                '"' if text.is_empty() => quoted = true,
                '\n' if !quoted => {
                    end = at + 1;
                    break;
                }
                '\r' if !quoted && matches!(characters.peek(), Some((_, '\n'))) => {}
                other if other == self.delimiter && !quoted => record.push(std::mem::take(&mut text)),
                other => text.push(other),
            }
        }
        record.push(text);
        self.rest = &self.rest[end..];
        Some(record)
    }
}
