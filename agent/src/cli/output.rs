//! Output: tables aligned for people, JSON for machines, and quiet ends of pipes.

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use humansize::{BINARY, format_size};
use serde::Serialize;
use std::io::{self, IsTerminal, Write};

/// How the user wants to be told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    /// JSON instead of tables.
    pub(super) json: bool,
    /// No progress and no remarks.
    pub(super) quiet: bool,
}

/// Writes to stdout; a reader that has gone away ends the program quietly, as it ends `cat`.
pub(super) fn write(bytes: &[u8]) {
    let mut out = io::stdout().lock();
    if let Err(error) = out.write_all(bytes).and_then(|()| out.flush()) {
        gone(&error);
    }
}

/// Ends the program over a failed write to stdout: with 0 if nobody reads any more, else with the code for I/O.
pub(super) fn gone(error: &io::Error) -> ! {
    if error.kind() == io::ErrorKind::BrokenPipe {
        std::process::exit(0);
    }
    eprintln!("kale-agent: cannot write to stdout: {error}");
    std::process::exit(kale_protocol::exit::Code::Io.number().into());
}

/// One line of text.
pub(super) fn line(text: &str) {
    write(format!("{text}\n").as_bytes());
}

/// A JSON document, indented on a terminal and on one line in a pipe.
pub(super) fn json<T: Serialize>(value: &T) {
    let pretty = io::stdout().is_terminal();
    let text = if pretty { serde_json::to_string_pretty(value) } else { serde_json::to_string(value) };
    line(&text.expect("values of plain types have a JSON form"));
}

/// A column's head, and whether its cells stand to the right.
pub(super) enum Column {
    Left(&'static str),
    Right(&'static str),
}

/// A table without borders; columns are as wide as their content.
pub(super) fn table(columns: &[Column], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(columns.iter().map(|column| match column {
        Column::Left(head) | Column::Right(head) => *head,
    }));
    for row in rows {
        table.add_row(row.iter().map(|cell| visible(cell)));
    }
    for (column, kind) in table.column_iter_mut().zip(columns) {
        column.set_padding((0, 2));
        if let Column::Right(_) = kind {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned() + "\n").collect();
    lines.concat()
}

/// A text in which nothing can drive a terminal.
pub(super) fn visible(text: &str) -> String {
    if text.chars().any(char::is_control) { text.escape_debug().to_string() } else { text.to_owned() }
}

/// A number of bytes for people.
pub(super) fn size(bytes: u64) -> String {
    format_size(bytes, BINARY.decimal_places(1))
}

/// A time in nanoseconds since 1970 as UTC text, to the second.
pub(super) fn time(ns: i64) -> String {
    match jiff::Timestamp::from_nanosecond(ns.into()) {
        Ok(time) if ns > 0 => time.strftime("%Y-%m-%d %H:%M:%SZ").to_string(),
        _ => "-".to_owned(),
    }
}

/// The time between two moments in nanoseconds, for people; `-` where one of them is not known.
pub(super) fn elapsed(from_ns: i64, to_ns: i64) -> String {
    match u64::try_from(to_ns - from_ns) {
        Ok(ns) if from_ns > 0 => {
            let ms = std::time::Duration::from_millis(ns / 1_000_000);
            humantime::format_duration(ms).to_string()
        }
        _ => "-".to_owned(),
    }
}
