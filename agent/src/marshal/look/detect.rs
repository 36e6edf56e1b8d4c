//! What content is, by its first bytes and its name.

/// Formats by the bytes they start with; the first match counts.
const MAGIC: &[(&[u8], &str)] = &[
    (b"\x93NUMPY", "npy"),
    (b"PAR1", "parquet"),
    (b"ARROW1", "arrow"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"\xff\xd8\xff", "jpeg"),
    (b"GIF8", "gif"),
    (b"%PDF-", "pdf"),
    (b"\x1f\x8b", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
];

/// Formats by the end of a name, for content that has no magic of its own.
const ENDINGS: &[(&str, &str)] = &[
    (".csv", "csv"),
    (".tsv", "tsv"),
    (".jsonl", "jsonl"),
    (".json", "json"),
    (".safetensors", "safetensors"),
    (".pickle", "pickle"),
    (".pkl", "pickle"),
];

/// Names the format of content as manifests do, from its first bytes and then its name.
///
/// A guess and no proof: nothing behind `head` is looked at. 64 bytes are enough to tell binary formats; text is
/// told by all of `head` being UTF-8, up to one character cut at its end. `None` where nothing fits.
pub fn detect(head: &[u8], name: Option<&str>) -> Option<&'static str> {
    let name = name.unwrap_or_default().to_ascii_lowercase();
    if let Some((_, format)) = MAGIC.iter().find(|(magic, _)| head.starts_with(magic)) {
        return Some(format);
    }
    if head.starts_with(b"PK\x03\x04") || head.starts_with(b"PK\x05\x06") {
        return Some(if name.ends_with(".npz") { "npz" } else { "zip" });
    }
    // An Arrow stream starts with a continuation marker and the length of its schema, which is padded.
    if head.len() >= 8 && head[..4] == [0xff; 4] && head[7] == 0 && head[4].is_multiple_of(8) && head[4..7] != [0; 3] {
        return Some("arrow");
    }
    // A safetensors header is a JSON object behind its length, which is far below 2^32 in any real file.
    if head.len() > 8 && head[4..8] == [0; 4] && head[8] == b'{' {
        return Some("safetensors");
    }
    // PROTO opens every pickle since protocol 2.
    if head.len() >= 2 && head[0] == 0x80 && (2..=5).contains(&head[1]) {
        return Some("pickle");
    }
    if let Some((_, format)) = ENDINGS.iter().find(|(ending, _)| name.ends_with(ending)) {
        return Some(format);
    }
    is_text(head).then_some("text")
}

fn is_text(head: &[u8]) -> bool {
    let whole = match std::str::from_utf8(head) {
        Ok(_) => true,
        Err(error) => error.error_len().is_none(),
    };
    whole && !head.is_empty() && !head.contains(&0)
}

#[cfg(test)]
mod tests {
    use super::detect;

    #[test]
    fn content_goes_before_the_name() {
        assert_eq!(detect(b"\x93NUMPY\x01\x00", Some("a.csv")), Some("npy"));
        assert_eq!(detect(b"PK\x03\x04....", Some("A.NPZ")), Some("npz"));
        assert_eq!(detect(b"PK\x03\x04....", None), Some("zip"));
        assert_eq!(detect(b"\x10\0\0\0\0\0\0\0{\"a\"", None), Some("safetensors"));
        assert_eq!(detect(b"\x80\x05\x95", None), Some("pickle"));
        assert_eq!(detect(b"\xff\xff\xff\xff\x78\x01\0\0\x10", None), Some("arrow"));
        assert_eq!(detect(b"\xff\xff\xff\xff\0\0\0\0", None), None);
    }

    #[test]
    fn the_name_decides_where_content_does_not() {
        assert_eq!(detect(b"a,b\n1,2\n", Some("t.csv")), Some("csv"));
        assert_eq!(detect(b"a,b\n1,2\n", None), Some("text"));
        assert_eq!(detect(b"caf\xc3", None), Some("text"));
        assert_eq!(detect(b"caf\xff\xfe", None), None);
        assert_eq!(detect(b"a\0b", None), None);
        assert_eq!(detect(b"", None), None);
    }
}
