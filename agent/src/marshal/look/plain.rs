//! Text, and the formats that are only named.

use super::{
    Body, MarshalError, View,
    cell::{count, shorten},
    detect::detect,
    window::Window,
};

/// How much of a text is read.
const TEXT_LIMIT: u64 = 1 << 20;
/// The longest line shown, in characters.
const LINE: usize = 200;
/// How far a picture's size is searched for.
const SEGMENTS: usize = 1000;

pub(super) fn look_text(window: &mut Window<'_>, rows: usize) -> Result<View, MarshalError> {
    let (text, whole) = read_text(window, TEXT_LIMIT)?;
    let mut lines = text.lines();
    let shown: Vec<String> = lines.by_ref().take(rows).map(|line| shorten(line, LINE)).collect();
    let more = lines.count();
    let summary = match whole {
        true => count((shown.len() + more) as u64, "line"),
        false => count(window.bytes(), "byte"),
    };
    Ok(View { format: "text".to_owned(), summary, body: Body::Text(shown), truncated: more > 0 || !whole })
}

/// The beginning of a text in UTF-8, a character cut by the limit left out, and whether it is all.
pub(super) fn read_text(window: &mut Window<'_>, limit: u64) -> Result<(String, bool), MarshalError> {
    let mut head = window.head(limit)?;
    let whole = head.len() as u64 == window.bytes();
    if let Err(error) = std::str::from_utf8(&head) {
        if whole || error.error_len().is_some() {
            return Err(window.bad(format!("byte {} is not UTF-8", error.valid_up_to())));
        }
        head.truncate(error.valid_up_to());
    }
    let text = String::from_utf8(head).expect("checked above");
    if text.contains('\0') {
        return Err(window.bad("it has NUL bytes"));
    }
    // A byte order mark is no part of the text.
    let text = text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text);
    Ok((text, whole))
}

/// Names a picture with its size, a document or a compressed file; nothing of its inside is shown.
pub(super) fn look(window: &mut Window<'_>) -> Result<View, MarshalError> {
    let head = window.head(64)?;
    if detect(&head, None) != Some(window.format) {
        return Err(window.bad("it does not start as one"));
    }
    let what = match window.format {
        "png" => png(window)?,
        "jpeg" => jpeg(window)?,
        "gif" => {
            let (width, height) = (window.u16_at(6)?, window.u16_at(8)?);
            format!("{width} × {height} pixels")
        }
        "pdf" => {
            let version = head.iter().skip(5).take(3).map(|byte| char::from(*byte)).collect::<String>();
            format!("version {}", version.trim())
        }
        _ => "compressed".to_owned(),
    };
    let summary = format!("{what}, {}", count(window.bytes(), "byte"));
    Ok(View { format: window.format.to_owned(), summary, body: Body::Text(Vec::new()), truncated: true })
}

fn png(window: &mut Window<'_>) -> Result<String, MarshalError> {
    let head = window.read_at(0, 26)?;
    let number = |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    if &head[12..16] != b"IHDR" {
        return Err(window.bad("its first chunk is not IHDR"));
    }
    let colour = match head[25] {
        0 => "grey",
        2 => "RGB",
        3 => "palette",
        4 => "grey with alpha",
        6 => "RGB with alpha",
        _ => return Err(window.bad("its colour type is unknown")),
    };
    Ok(format!("{} × {} pixels, {colour}, {} bit", number(16), number(20), head[24]))
}

/// Walks over the segments to the frame's header.
fn jpeg(window: &mut Window<'_>) -> Result<String, MarshalError> {
    let mut offset = 2;
    for _ in 0..SEGMENTS {
        let marker = window.read_at(offset, 4)?;
        let length = u64::from(u16::from_be_bytes([marker[2], marker[3]]));
        match (marker[0], marker[1]) {
            (0xff, 0xff) => offset += 1,
            // The frame's headers; the four left out are tables.
            (0xff, kind @ 0xc0..=0xcf) if !matches!(kind, 0xc4 | 0xc8 | 0xcc) => {
                let size = window.read_at(offset + 5, 4)?;
                let [height, width] = [[size[0], size[1]], [size[2], size[3]]].map(u16::from_be_bytes);
                return Ok(format!("{width} × {height} pixels"));
            }
            (0xff, _) if length >= 2 => offset += 2 + length,
            _ => break,
        }
    }
    Err(window.bad("it has no frame header"))
}
