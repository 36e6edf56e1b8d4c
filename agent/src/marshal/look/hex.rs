//! Bytes that no format explains.

use super::{Body, MarshalError, View, cell::count, window::Window};

/// How many bytes are dumped.
const SHOWN: u64 = 256;

pub(super) fn look(window: &mut Window<'_>) -> Result<View, MarshalError> {
    let head = window.head(SHOWN)?;
    Ok(View {
        format: "binary".to_owned(),
        summary: count(window.bytes(), "byte"),
        body: Body::Hex(dump(&head)),
        truncated: window.bytes() > SHOWN,
    })
}

/// Lines of 16 bytes: place, bytes, and what of them is printable ASCII.
fn dump(bytes: &[u8]) -> Vec<String> {
    let line = |(index, line): (usize, &[u8])| {
        let digits: String = line.iter().map(|byte| format!("{byte:02x} ")).collect();
        let shown = |byte: &u8| if (0x20..0x7f).contains(byte) { char::from(*byte) } else { '.' };
        format!("{:08x}  {digits:<48} {}", index * 16, line.iter().map(shown).collect::<String>())
    };
    bytes.chunks(16).enumerate().map(line).collect()
}
