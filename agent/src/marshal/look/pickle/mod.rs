//! Python's pickles, taken apart and never executed.
//!
//! What a pickle would call is named and not called; the outline says which values the calls would be given.

mod machine;
mod node;
mod opcodes;

use super::{
    Body, MarshalError, View,
    cell::{count, shorten},
    window::Window,
};
use machine::Machine;

/// How many imports are named in the body, whatever the number of rows.
const IMPORTS: usize = 100;

pub(super) fn look(window: &mut Window<'_>, rows: usize) -> Result<View, MarshalError> {
    let mut machine = Machine::new();
    let whole = machine.run(window)?;
    let (what, outline, complete) = machine.outline(rows);
    let imports = &machine.imports;
    let names = match imports.len() {
        0 => "imports nothing".to_owned(),
        1..=3 => format!("imports {}", imports.iter().cloned().collect::<Vec<_>>().join(", ")),
        many => format!("imports {}", count(many as u64, "name")),
    };
    let part = if whole { "" } else { ", only its beginning was read" };
    let mut lines: Vec<String> = Vec::new();
    if rows > 0 {
        lines.extend(imports.iter().take(IMPORTS).map(|name| format!("imports {name}")));
        lines.extend(outline);
    }
    Ok(View {
        format: "pickle".to_owned(),
        summary: format!("protocol {}, {}, {}{part}", machine.protocol, shorten(&what, 100), shorten(&names, 200)),
        truncated: rows == 0 || !whole || !complete || imports.len() > IMPORTS || machine.end() < window.bytes(),
        body: Body::Text(lines),
    })
}
