//! Numbers whose bytes are stored apart.

use super::*;

/// Shuffled content as it was: byte `i` of element `e` lies at `i * n + e`.
pub(super) fn by_the_page(apart: &[u8], width: usize) -> Vec<u8> {
    let n = apart.len() / width;
    let elements = (0..n).flat_map(|e| (0..width).map(move |i| apart[i * n + e]));
    elements.chain(apart[n * width..].iter().copied()).collect()
}

#[test]
fn where_it_is_asked_for_numbers_are_compressed_with_their_bytes_apart() {
    let numbers = noise("numbers", 12 << 20);
    let unit = |bytes: &[u8; 8]| (u64::from_le_bytes(*bytes) >> 11) as f64 / (1u64 << 53) as f64;
    let floats: Vec<u8> = numbers.as_chunks().0.iter().flat_map(|b| (unit(b) as f32 + 0.5).to_le_bytes()).collect();
    let doubles: Vec<u8> = numbers.as_chunks().0.iter().flat_map(|b| (unit(b) + 0.5).to_le_bytes()).collect();
    let content = safetensors(&[
        ("doubles".to_owned(), doubles),
        ("floats".to_owned(), floats),
        ("noise".to_owned(), noise("other", (2 << 20) + 5)),
    ]);
    let memory = Memory::new();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model");
    fs::write(&file, &content).unwrap();
    let options = SaveOptions { compress: Compress::Zstd(1), ..options(2) };
    let saved = save(Source::Path(file), &memory, &Known::default(), &options, &Silent).unwrap();
    let artifact = Artifact::read(&memory, &saved);
    let mut widths: Vec<_> = artifact
        .extents("")
        .iter()
        .filter_map(|extent| match extent {
            Extent::Framed { frame: Frame { codec: Codec::ZstdShuffled { width }, .. }, .. } => Some(*width),
            _ => None,
        })
        .collect();
    widths.dedup();
    assert_eq!(widths, [8, 4]);
    assert!(saved.stored_bytes < content.len() as u64 * 95 / 100, "{} of {}", saved.stored_bytes, content.len());
    assert_eq!(artifact.content(""), content);
    // Saved again, it refers to what is there.
    let mut known = Known::default();
    artifact.add_to(&mut known, &saved);
    let again = save_bytes(&memory, &content, &known);
    assert_eq!(again.stored_bytes, 0);
}
