//! How values and numbers are written.

use std::fmt::{self, Write};

/// The longest cell of a table in characters.
pub(super) const WIDTH: usize = 60;

/// Cuts a text to a number of characters, the last of them an ellipsis where something is missing.
pub(super) fn shorten(text: &str, width: usize) -> String {
    let mut cut = Bounded::new(width);
    // Being full is no failure: what fits is there.
    let _ = cut.write_str(text);
    cut.finish()
}

/// A cell of a table.
pub(super) fn cell(text: &str) -> String {
    shorten(text, WIDTH)
}

/// A text that refuses to grow beyond a number of characters, so that a value of any length can be written to it.
pub(super) struct Bounded {
    text: String,
    left: usize,
    full: bool,
}

impl Bounded {
    pub(super) fn new(width: usize) -> Self {
        Self { text: String::new(), left: width, full: false }
    }

    pub(super) fn is_full(&self) -> bool {
        self.full
    }

    pub(super) fn finish(mut self) -> String {
        if self.full {
            self.text.pop();
            self.text.push('…');
        }
        self.text
    }
}

impl Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            if self.left == 0 {
                self.full = true;
                return Err(fmt::Error);
            }
            self.text.push(character);
            self.left -= 1;
        }
        Ok(())
    }
}

/// A count with its thousands apart: `336,776`.
pub(super) fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count of things: `1 row`, `2 rows`.
pub(super) fn count(count: u64, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{} {what}{plural}", grouped(count))
}

/// Lengths along the axes: `1000 × 64`; `scalar` without any.
pub(super) fn shape(shape: &[u64]) -> String {
    match shape {
        [] => "scalar".to_owned(),
        [length] => length.to_string(),
        _ => {
            let mut text = Bounded::new(WIDTH);
            for (index, length) in shape.iter().enumerate() {
                if write!(text, "{}{length}", if index > 0 { " × " } else { "" }).is_err() {
                    break;
                }
            }
            text.finish()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_cells_end_in_an_ellipsis() {
        assert_eq!(shorten("abc", 3), "abc");
        assert_eq!(shorten("äbcd", 3), "äb…");
        assert_eq!(shorten("x", 0), "…");
        assert_eq!(shorten("", 0), "");
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(grouped(336_776), "336,776");
        assert_eq!(grouped(999), "999");
        assert_eq!(count(1, "row"), "1 row");
        assert_eq!(count(1000, "row"), "1,000 rows");
        assert_eq!(shape(&[1000, 64]), "1000 × 64");
    }
}
