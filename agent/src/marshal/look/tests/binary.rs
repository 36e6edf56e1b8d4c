use super::{lines, samples, show, table};
use crate::marshal::{
    MarshalError,
    look::{Body, look},
};
use std::io::{self, Cursor, Read, Seek, SeekFrom};

#[test]
fn arrays_in_both_orders_and_both_ends() {
    let values: Vec<u8> = (0..6).flat_map(|n| (n as f32).to_be_bytes()).collect();
    let view = show(&samples::npy("'>f4'", false, "(2, 3)", &values), None, None, 1);
    assert_eq!(view.summary, "float32 array 2 × 3");
    let (columns, rows, total) = table(&view);
    assert_eq!(columns, ["0 float32", "1 float32", "2 float32"]);
    assert_eq!((rows, total, view.truncated), (vec![vec!["0", "1", "2"]], Some(2), true));
    let view = show(&samples::npy("'>f4'", true, "(2, 3)", &values), None, None, 9);
    assert_eq!(table(&view).1, [["0", "2", "4"], ["1", "3", "5"]]);
    assert!(!view.truncated);
    // Three axes: the place [r, a, b] of Fortran's order is r + 2a + 2b.
    let values: Vec<u8> = (0..8).collect();
    let view = show(&samples::npy("'|u1'", true, "(2, 2, 2)", &values), None, None, 9);
    assert_eq!(table(&view).0, ["0, 0 uint8", "0, 1 uint8", "1, 0 uint8", "1, 1 uint8"]);
    assert_eq!(table(&view).1, [["0", "4", "2", "6"], ["1", "5", "3", "7"]]);
}

#[test]
fn arrays_of_every_kind() {
    let one = |descr: &str, value: &[u8]| {
        let view = show(&samples::npy(descr, false, "(1,)", value), None, None, 5);
        table(&view).1[0][0].to_owned()
    };
    assert_eq!(one("'<f2'", &0x3e00_u16.to_le_bytes()), "1.5");
    assert_eq!(one("'>f8'", &(-0.25_f64).to_be_bytes()), "-0.25");
    assert_eq!(one("'<i2'", &(-2_i16).to_le_bytes()), "-2");
    assert_eq!(one("'>u8'", &u64::MAX.to_be_bytes()), u64::MAX.to_string());
    assert_eq!(one("'|b1'", &[1]), "True");
    assert_eq!(one("'<c8'", &[1_f32.to_le_bytes(), (-2_f32).to_le_bytes()].concat()), "1-2j");
    assert_eq!(one("'<U3'", b"a\0\0\0\xe4\0\0\0\0\0\0\0"), "aä");
    assert_eq!(one("'|S4'", b"ab\n\0"), "ab\\n");
    assert_eq!(one("'<M8[ns]'", &7_i64.to_le_bytes()), "7");
    let scalar = show(&samples::npy("'<i4'", false, "()", &[5, 0, 0, 0]), None, None, 5);
    assert_eq!((table(&scalar).1, scalar.summary.as_str()), (vec![vec!["5"]], "int32 array scalar"));
}

#[test]
fn arrays_of_objects_and_fields_are_described() {
    let view = show(&samples::npy("'|O'", false, "(3,)", b"\x80\x04cos\nsystem\n."), None, None, 5);
    assert_eq!(view.summary, "object (a pickle, not read) array 3");
    assert!(view.truncated && table(&view).1.is_empty());
    let view = show(&samples::npy("[('a', '<i4', (2,)), ('b', '|S3')]", false, "(1,)", &[0; 11]), None, None, 5);
    assert_eq!(view.summary, "fields (a int32, b bytes of 3) array 1");
}

#[test]
fn archives_list_their_members() {
    let view = show(&samples::npz(), Some("npz/dict"), None, 5);
    assert_eq!((view.format.as_str(), view.summary.as_str()), ("npz", "2 arrays"));
    let length = samples::npy("'<f4'", false, "(2, 3)", &[0; 24]).len().to_string();
    assert_eq!(table(&view).1, [["x.npy", &length, "stored", "float32 2 × 3"], ["y.npy", "6", "deflated", ""]]);
    let view = show(&samples::zip(&[("a", 0, b"xyz"), ("b", 8, b"")]), None, None, 1);
    assert_eq!((view.format.as_str(), view.summary.as_str(), view.truncated), ("zip", "2 members", true));
    assert_eq!(table(&view).1, [["a", "3", "stored"]]);
}

#[test]
fn tensors_are_listed() {
    let view = show(&samples::safetensors(), None, None, 5);
    assert_eq!(view.summary, format!("2 tensors, {} bytes", samples::safetensors().len()));
    assert_eq!(table(&view).1, [["w", "F32", "2 × 3", "24"], ["b", "BF16", "scalar", "2"]]);
    assert!(!view.truncated && show(&samples::safetensors(), None, None, 1).truncated);
}

#[test]
fn pickles_name_their_imports() {
    let view = show(&samples::pickle(), None, None, 9);
    assert_eq!(view.summary, "protocol 4, dict of 2, imports os.system");
    assert_eq!(lines(&view), ["imports os.system", "\"a\": [1, 2.5]", "\"os\": os.system(\"ls\")"]);
    assert!(!view.truncated);
    // Protocol 0: an instance with a state, told by the hint alone.
    let old = b"ccopy_reg\n_reconstructor\np0\n(cmod\nKlass\nc__builtin__\nobject\nNtR(dS'x'\nI01\nsb.";
    let view = show(old, Some("pickle"), None, 9);
    assert_eq!(
        view.summary,
        "protocol 0, object of copy_reg._reconstructor, imports __builtin__.object, copy_reg._reconstructor, mod.Klass"
    );
    assert_eq!(
        lines(&view)[3..],
        ["copy_reg._reconstructor(mod.Klass, __builtin__.object, None)", "state \"x\": True"]
    );
    // A list within itself.
    let view = show(b"\x80\x02]q\0h\0a.", None, None, 9);
    assert_eq!(
        (view.summary.as_str(), lines(&view)),
        ("protocol 2, list of 1, imports nothing", &["[[[[…]]]]".to_owned()][..])
    );
}

#[test]
fn long_pickles_are_read_in_part() {
    let long = [b"\x80\x02]q\0(".to_vec(), b"cos\nsystem\n".to_vec(), vec![b'N'; 400_000], b"e.".to_vec()].concat();
    let view = show(&long, None, None, 2);
    assert_eq!(view.summary, "protocol 2, list of 0, imports os.system, only its beginning was read");
    assert!(view.truncated);
    let claims = show(b"\x80\x05\x8e\xff\xff\xff\xff\xff\xff\xff\xff.", None, None, 2);
    let why = "12 bytes, not readable as pickle: 18446744073709551615 bytes at 11 are missing";
    assert_eq!(claims.summary, why);
}

#[test]
fn pictures_have_a_size_and_others_a_name() {
    let summary = |bytes: &[u8]| show(bytes, None, None, 5).summary;
    assert_eq!(summary(&samples::png()), "640 × 480 pixels, RGB with alpha, 8 bit, 49 bytes");
    assert_eq!(summary(&samples::jpeg()), "640 × 480 pixels, 28 bytes");
    assert_eq!(summary(b"GIF89a\x80\x02\xe0\x01"), "640 × 480 pixels, 10 bytes");
    assert_eq!(summary(b"%PDF-1.7\n..."), "version 1.7, 12 bytes");
    assert_eq!(show(b"\x1f\x8b\x08", None, None, 5).format, "gzip");
    assert_eq!(show(b"\x28\xb5\x2f\xfd\0", None, None, 5).format, "zstd");
}

#[test]
fn unknown_bytes_are_dumped() {
    let view = show(&[0, b'a', 0xff], None, None, 5);
    assert_eq!((view.format.as_str(), view.summary.as_str(), view.truncated), ("binary", "3 bytes", false));
    let Body::Hex(lines) = view.body else { panic!("{view:?}") };
    assert_eq!(lines, [format!("00000000  {:<48} .a.", "00 61 ff")]);
    assert_eq!(show(b"", None, None, 5).summary, "0 bytes");
}

#[test]
fn damaged_content_says_why() {
    let view = show(b"PAR1 and nothing else", None, None, 5);
    assert_eq!(view.summary, "1 line, not readable as parquet: it does not end as a table does");
    assert_eq!(lines(&view), ["PAR1 and nothing else"]);
}

#[test]
fn a_failing_reader_is_no_matter_of_format() {
    struct Failing(Cursor<Vec<u8>>);
    impl Read for Failing {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            if self.0.position() > 100_000 {
                return Err(io::Error::other(MarshalError::NoSuchPath { path: "x".to_owned() }));
            }
            let count = out.len().min(1000);
            self.0.read(&mut out[..count])
        }
    }
    impl Seek for Failing {
        fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
            self.0.seek(to)
        }
    }
    let bytes = samples::parquet(&samples::batch(20_000), parquet::basic::Compression::UNCOMPRESSED);
    let length = bytes.len() as u64;
    let error = look(&mut Failing(Cursor::new(bytes)), length, None, None, 5).unwrap_err();
    assert!(matches!(error, MarshalError::NoSuchPath { .. }), "{error}");
    // Shorter than it claims to be: a failure of the reader, too.
    let error = look(&mut Cursor::new(b"abc"), 10, None, Some("a.txt"), 5).unwrap_err();
    assert_eq!(error.to_string(), "cannot read a.txt");
}
