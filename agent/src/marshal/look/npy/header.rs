//! The header of an npy file.

use super::super::{HEADER_LIMIT, MarshalError, cell::shorten, literal::Literal, window::Window};

const MAGIC: &[u8] = b"\x93NUMPY";
/// numpy itself allows 64.
const AXES: usize = 64;

/// What an array is and where its values are.
#[derive(Debug)]
pub(in super::super) struct Header {
    /// The kind of values in words: `float32`, `fields (a int32, b float64)`.
    pub(in super::super) kind: String,
    /// Lengths along the axes.
    pub(in super::super) shape: Vec<u64>,
    /// numpy's letter for the kind; `V` for fields.
    pub(super) letter: char,
    pub(super) big_endian: bool,
    pub(super) item_bytes: u64,
    pub(super) fortran: bool,
    pub(super) data_offset: u64,
}

impl Header {
    /// Reads the header of an array that starts at `start`.
    pub(in super::super) fn read(window: &mut Window<'_>, start: u64) -> Result<Self, MarshalError> {
        let head = window.read_at(start, 8)?;
        if !head.starts_with(MAGIC) {
            return Err(window.bad("it does not start as an array does"));
        }
        let (length, text_start) = match head[6] {
            1 => (u64::from(window.u16_at(start + 8)?), start + 10),
            2 | 3 => (u64::from(window.u32_at(start + 8)?), start + 12),
            version => return Err(window.bad(format!("its version {version} is unknown"))),
        };
        if length > HEADER_LIMIT {
            return Err(window.bad(format!("its header claims {length} bytes")));
        }
        let text = window.read_at(text_start, length)?;
        let parsed = Self::parse(&String::from_utf8_lossy(&text), text_start + length);
        parsed.ok_or_else(|| window.bad("its header is not understood"))
    }

    fn parse(text: &str, data_offset: u64) -> Option<Self> {
        let dict = Literal::parse(text)?;
        let Literal::Truth(fortran) = dict.get("fortran_order")? else { return None };
        let Literal::Row(lengths) = dict.get("shape")? else { return None };
        let length = |length: &Literal| if let Literal::Number(length) = length { Some(*length) } else { None };
        let shape: Vec<u64> = lengths.iter().map(length).collect::<Option<_>>()?;
        if shape.len() > AXES {
            return None;
        }
        let descr = dict.get("descr")?;
        let (letter, big_endian, item_bytes) = match descr {
            Literal::Text(code) => simple(code)?,
            _ => ('V', false, 0),
        };
        let kind = shorten(&describe(descr)?, 200);
        Some(Self { kind, shape, letter, big_endian, item_bytes, fortran: *fortran, data_offset })
    }

    /// Whether a value can be shown by itself.
    pub(super) fn is_readable(&self) -> bool {
        !matches!(self.letter, 'O')
    }

    /// The place among all values of one in a row and a column, the columns counted in C's order.
    pub(super) fn index(&self, row: u64, column: u64) -> Option<u64> {
        let Some((rows, rest)) = self.shape.split_first() else { return Some(0) };
        if !self.fortran {
            let width = rest.iter().try_fold(1_u64, |all, length| all.checked_mul(*length))?;
            return row.checked_mul(width)?.checked_add(column);
        }
        // From the last axis on, the places of C's order; strides of Fortran's order grow from the first axis.
        let mut stride = rest.iter().try_fold(*rows, |all, length| all.checked_mul(*length))?;
        let (mut index, mut column) = (row, column);
        for length in rest.iter().rev() {
            stride = stride.checked_div(*length)?;
            index = index.checked_add((column % length).checked_mul(stride)?)?;
            column /= length;
        }
        Some(index)
    }
}

/// Letter, byte order and length of a code such as `<f4`.
fn simple(code: &str) -> Option<(char, bool, u64)> {
    let (order, rest) = match code.chars().next()? {
        order @ ('<' | '>' | '|' | '=') => (order, &code[1..]),
        _ => ('<', code),
    };
    let letter = rest.chars().next().filter(char::is_ascii_alphabetic)?;
    let digits = rest[1..].split('[').next()?;
    let units: u64 = match (letter, digits) {
        ('O', "") => 8,
        ('?', "") => 1,
        _ => digits.parse().ok()?,
    };
    let bytes = if letter == 'U' { units.checked_mul(4)? } else { units };
    Some((letter, order == '>', bytes))
}

fn describe(descr: &Literal) -> Option<String> {
    match descr {
        Literal::Text(code) => {
            let (letter, _, bytes) = simple(code)?;
            let unit = code.find('[').map_or("", |at| &code[at..]);
            Some(match letter {
                'f' => format!("float{}", bytes.checked_mul(8)?),
                'i' => format!("int{}", bytes.checked_mul(8)?),
                'u' => format!("uint{}", bytes.checked_mul(8)?),
                'c' => format!("complex{}", bytes.checked_mul(8)?),
                'b' | '?' => "bool".to_owned(),
                'U' => format!("text of {}", bytes / 4),
                'S' | 'a' => format!("bytes of {bytes}"),
                'M' => format!("datetime64{unit}"),
                'm' => format!("timedelta64{unit}"),
                'V' => format!("void of {bytes}"),
                'O' => "object (a pickle, not read)".to_owned(),
                _ => return None,
            })
        }
        Literal::Row(fields) => {
            let field = |field: &Literal| {
                let Literal::Row(parts) = field else { return None };
                let name = match parts.first()? {
                    Literal::Text(name) => name,
                    // A title comes first.
                    Literal::Row(names) => match names.last()? {
                        Literal::Text(name) => name,
                        _ => return None,
                    },
                    _ => return None,
                };
                Some(format!("{name} {}", describe(parts.get(1)?)?))
            };
            // Enough for the width that is shown, and few enough to keep a long list cheap.
            let shown: Option<Vec<String>> = fields.iter().take(50).map(field).collect();
            Some(format!("fields ({})", shown?.join(", ")))
        }
        _ => None,
    }
}
