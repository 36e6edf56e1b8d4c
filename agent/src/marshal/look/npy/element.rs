//! One value of an array.

use super::{super::cell::cell, Header};

/// Shows a value; `bytes` may be the beginning of a long one.
pub(super) fn render(header: &Header, mut bytes: Vec<u8>) -> String {
    let text = match (header.letter, header.item_bytes) {
        ('b' | '?', 1) => (if bytes[0] == 0 { "False" } else { "True" }).to_owned(),
        ('i' | 'u' | 'f' | 'M' | 'm', 1 | 2 | 4 | 8) => {
            little(&mut bytes, header.big_endian);
            number(header.letter, &bytes)
        }
        ('c', 8 | 16) => {
            let mut imaginary = bytes.split_off(bytes.len() / 2);
            little(&mut bytes, header.big_endian);
            little(&mut imaginary, header.big_endian);
            let imaginary = number('f', &imaginary);
            let sign = if imaginary.starts_with('-') { "" } else { "+" };
            format!("{}{sign}{imaginary}j", number('f', &bytes))
        }
        ('U', _) => characters(&bytes, header.big_endian),
        ('S' | 'a', _) => {
            let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            bytes[..end].escape_ascii().to_string()
        }
        _ => bytes.iter().take(31).map(|byte| format!("{byte:02x}")).collect(),
    };
    cell(&text)
}

fn little(bytes: &mut [u8], big_endian: bool) {
    if big_endian {
        bytes.reverse();
    }
}

/// A number of at most eight bytes, the lowest first.
fn number(letter: char, bytes: &[u8]) -> String {
    let mut wide = [0; 8];
    wide[..bytes.len()].copy_from_slice(bytes);
    let bits = u64::from_le_bytes(wide);
    let unused = 64 - 8 * bytes.len() as u32;
    let signed = (bits << unused) as i64 >> unused;
    match (letter, bytes.len()) {
        ('f', 2) => half(bits as u16).to_string(),
        ('f', 4) => f32::from_bits(bits as u32).to_string(),
        ('f', 8) => f64::from_bits(bits).to_string(),
        ('u' | 'f', _) => bits.to_string(),
        ('M' | 'm', _) if signed == i64::MIN => "NaT".to_owned(),
        _ => signed.to_string(),
    }
}

/// A float of 16 bits: sign, 5 bits of exponent, 10 bits of fraction.
fn half(bits: u16) -> f32 {
    let fraction = f32::from(bits & 0x3ff);
    let size = match (bits >> 10) & 0x1f {
        0 => fraction * 2_f32.powi(-24),
        31 if fraction == 0.0 => f32::INFINITY,
        31 => f32::NAN,
        exponent => (1024.0 + fraction) * 2_f32.powi(i32::from(exponent) - 25),
    };
    if bits >> 15 == 1 { -size } else { size }
}

/// Characters of four bytes, without the zeros that fill the last up.
fn characters(bytes: &[u8], big_endian: bool) -> String {
    let code = |unit: &[u8]| {
        let unit: [u8; 4] = unit.try_into().expect("chunks of four");
        if big_endian { u32::from_be_bytes(unit) } else { u32::from_le_bytes(unit) }
    };
    let text = bytes.chunks_exact(4).map(|unit| char::from_u32(code(unit)).unwrap_or(char::REPLACEMENT_CHARACTER));
    text.collect::<String>().trim_end_matches('\0').to_owned()
}

#[cfg(test)]
mod tests {
    use super::{half, number};

    #[test]
    fn half_floats_are_as_written() {
        assert_eq!(half(0x3c00), 1.0);
        assert_eq!(half(0xc000), -2.0);
        assert_eq!(half(0x7bff), 65504.0);
        assert_eq!(half(0x0001), 2_f32.powi(-24));
        assert_eq!(half(0x7c00), f32::INFINITY);
        assert!(half(0x7e00).is_nan());
    }

    #[test]
    fn signs_reach_from_every_width() {
        assert_eq!(number('i', &[0xff]), "-1");
        assert_eq!(number('i', &[0xfe, 0xff]), "-2");
        assert_eq!(number('u', &[0xfe, 0xff]), "65534");
        assert_eq!(number('M', &i64::MIN.to_le_bytes()), "NaT");
    }
}
