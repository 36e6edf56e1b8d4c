//! Damage: whatever the bytes, something is shown, and never a panic or a failure.

use super::{samples, show};
use crate::marshal::look::KNOWN;
use arrow::ipc::CompressionType;
use parquet::basic::Compression;
use proptest::{collection::vec, prelude::*, sample::Index};
use std::sync::LazyLock;

static SAMPLES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let batch = samples::batch(20);
    vec![
        samples::npy("'<f4'", true, "(2, 3)", &[0; 24]),
        samples::npy("[('a', '<i4'), ('b', '|S3')]", false, "(1,)", &[0; 7]),
        samples::npy("'<U3'", false, "(2,)", &[0; 24]),
        samples::npz(),
        samples::zip(&[("a", 0, b"xyz"), ("b", 8, b"")]),
        samples::safetensors(),
        samples::pickle(),
        samples::parquet(&batch, Compression::SNAPPY),
        samples::parquet(&batch, Compression::UNCOMPRESSED),
        samples::arrow_file(&batch, 2, None),
        samples::arrow_file(&batch, 2, Some(CompressionType::LZ4_FRAME)),
        samples::arrow_stream(&batch, 2),
        samples::png(),
        samples::jpeg(),
        b"a,b\n1,\"2\"\n".to_vec(),
        br#"{"a":[1,2,{"b":null}]}"#.to_vec(),
    ]
});

/// Shows bytes by every hint; that all came to an end without a failure is what is tested.
fn survive(bytes: &[u8], rows: usize) {
    show(bytes, None, None, rows);
    for hint in KNOWN {
        show(bytes, Some(hint), Some("x"), rows);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_do_no_harm(bytes in vec(any::<u8>(), 0..600), rows in 0_usize..20) {
        survive(&bytes, rows);
    }

    #[test]
    fn damaged_samples_do_no_harm(
        sample in any::<Index>(),
        flips in vec((any::<Index>(), prop_oneof![any::<u8>(), Just(0), Just(0xff), Just(0x7f)]), 0..4),
        cut in proptest::option::of(any::<Index>()),
        rows in 0_usize..30,
    ) {
        let mut bytes = sample.get(&SAMPLES).clone();
        for (place, value) in flips {
            let place = place.index(bytes.len());
            bytes[place] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        survive(&bytes, rows);
    }

    #[test]
    fn random_pickles_do_no_harm(program in vec(prop_oneof![
        proptest::sample::select(b"(.012NQRabd}elosth)u]K\x81\x85\x86\x87\x88\x8f\x90\x91\x92\x93\x94\x97".to_vec()),
        any::<u8>(),
    ], 0..200)) {
        show(&[b"\x80\x04", &program[..]].concat(), None, None, 20);
    }
}

#[test]
fn whole_samples_are_shown_as_what_they_are() {
    let formats: Vec<String> = SAMPLES.iter().map(|bytes| show(bytes, None, None, 5).format).collect();
    let expected = [
        "npy",
        "npy",
        "npy",
        "zip",
        "zip",
        "safetensors",
        "pickle",
        "parquet",
        "parquet",
        "arrow",
        "arrow",
        "arrow",
        "png",
        "jpeg",
        "text",
        "text",
    ];
    assert_eq!(formats, expected);
}
