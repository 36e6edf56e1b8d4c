//! JSON, as one value or one a line.

use super::{
    Body, MarshalError, View,
    cell::{WIDTH, count, shorten},
    plain::{self, read_text},
    window::Window,
};
use serde_json::Value;

/// The longest document that is read as a value; its tree takes up to thirty times its length.
const LIMIT: u64 = 4 << 20;
/// How deep a value is shown.
const DEPTH: usize = 6;

pub(super) fn look(window: &mut Window<'_>, rows: usize) -> Result<View, MarshalError> {
    let (text, whole) = read_text(window, LIMIT)?;
    if !whole {
        let view = plain::look_text(window, rows)?;
        return Ok(View { format: "json".to_owned(), ..view });
    }
    let value: Value = serde_json::from_str(&text).map_err(|error| window.bad(error))?;
    let mut truncated = false;
    let summary = describe(&value);
    let shown = prune(value, rows, DEPTH, &mut truncated);
    Ok(View { format: "json".to_owned(), summary, body: Body::Json(shown), truncated })
}

/// One value a line: lines are shown, and the first is looked at.
pub(super) fn look_lines(window: &mut Window<'_>, rows: usize) -> Result<View, MarshalError> {
    let view = plain::look_text(window, rows)?;
    let (text, whole) = read_text(window, LIMIT)?;
    let first = text.lines().next().unwrap_or_default();
    let summary = match serde_json::from_str::<Value>(first) {
        Ok(value) => format!("{}, the first {}", view.summary, describe(&value)),
        // The first line may be longer than what is read.
        Err(_) if first.is_empty() || (!whole && first.len() == text.len()) => view.summary,
        Err(error) => return Err(window.bad(error)),
    };
    Ok(View { format: "jsonl".to_owned(), summary, ..view })
}

fn describe(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(_) => "a truth value".to_owned(),
        Value::Number(_) => "a number".to_owned(),
        Value::String(_) => "a string".to_owned(),
        Value::Array(items) => format!("an array of {}", count(items.len() as u64, "value")),
        Value::Object(entries) => format!("an object of {}", count(entries.len() as u64, "member")),
    }
}

/// Cuts a value to `rows` items a level, with short strings.
fn prune(value: Value, rows: usize, depth: usize, truncated: &mut bool) -> Value {
    let more = |shown: usize, all: usize| format!("… {} more", all - shown);
    match value {
        Value::String(text) => {
            let short = shorten(&text, WIDTH);
            *truncated |= short != text;
            Value::String(short)
        }
        Value::Array(items) => {
            let all = items.len();
            let shown = if depth == 0 { 0 } else { all.min(rows) };
            let mut kept: Vec<Value> =
                items.into_iter().take(shown).map(|item| prune(item, rows, depth - 1, truncated)).collect();
            if shown < all {
                *truncated = true;
                kept.push(Value::String(more(shown, all)));
            }
            Value::Array(kept)
        }
        Value::Object(entries) => {
            let all = entries.len();
            let shown = if depth == 0 { 0 } else { all.min(rows) };
            let mut kept: serde_json::Map<String, Value> = entries
                .into_iter()
                .take(shown)
                .map(|(name, item)| (shorten(&name, WIDTH), prune(item, rows, depth - 1, truncated)))
                .collect();
            if shown < all {
                *truncated = true;
                kept.insert("…".to_owned(), Value::String(more(shown, all)));
            }
            Value::Object(kept)
        }
        other => other,
    }
}
