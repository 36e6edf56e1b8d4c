use super::{lines, samples, show, table};
use crate::marshal::look::Body;
use arrow::ipc::CompressionType;
use parquet::basic::{Compression, ZstdLevel};

const KINDS: [&str; 4] = ["n int64", "half float64", "text text", "word category of text"];
const THIRD: [&str; 5] = ["2", "1.0", "row 2", "none", "[2, ]"];

#[test]
fn parquet_shows_its_first_rows() {
    let batch = samples::batch(2000);
    let packed = [Compression::UNCOMPRESSED, Compression::SNAPPY, Compression::ZSTD(ZstdLevel::default())];
    for compression in packed {
        let bytes = samples::parquet(&batch, compression);
        let view = show(&bytes, Some("parquet/pandas.DataFrame"), None, 3);
        assert_eq!(view.summary, "2,000 rows × 5 columns");
        let (columns, rows, total) = table(&view);
        assert_eq!(columns[..4], KINDS);
        assert_eq!((rows.len(), rows[2].as_slice(), total), (3, &THIRD[..], Some(2000)));
        assert!(view.truncated);
        // Over the end of pages and row groups.
        let view = show(&bytes, None, None, 5000);
        assert_eq!((table(&view).1.len(), table(&view).1[1999][0], view.truncated), (2000, "1999", false));
        assert!(table(&show(&bytes, None, None, 0)).1.is_empty());
    }
}

#[test]
fn arrow_files_and_streams_show_their_first_rows() {
    let batch = samples::batch(10);
    let file = |compression| samples::arrow_file(&batch, 3, compression);
    let packed = [file(None), file(Some(CompressionType::LZ4_FRAME)), file(Some(CompressionType::ZSTD))];
    for bytes in &packed {
        let view = show(bytes, None, None, 3);
        assert_eq!(view.summary, "30 rows × 5 columns");
        let (columns, rows, total) = table(&view);
        assert_eq!(columns[..4], KINDS);
        assert_eq!((rows.len(), rows[2].as_slice(), total), (3, &THIRD[..], Some(30)));
    }
    let stream = samples::arrow_stream(&batch, 3);
    let view = show(&stream, Some("arrow"), None, 12);
    assert_eq!((view.summary.as_str(), view.truncated), ("5 columns", true));
    assert_eq!((table(&view).1[11][0], table(&view).2), ("1", None));
    let view = show(&stream, None, None, 31);
    assert_eq!((view.summary.as_str(), view.truncated, table(&view).1.len()), ("30 rows × 5 columns", false, 30));
    assert_eq!(table(&show(&stream, None, None, 0)).0.len(), 5);
    let empty = show(&samples::arrow_file(&batch, 0, None), None, None, 3);
    assert_eq!((empty.summary.as_str(), empty.truncated), ("0 rows × 5 columns", false));
}

#[test]
fn text_tables_have_a_head_or_not() {
    let view = show(b"id,name,x\n1,\"a, \"\"b\"\"\nc\",1.5\r\n2,,2\n", None, Some("t.csv"), 1);
    assert_eq!((view.summary.as_str(), view.truncated), ("2 rows × 3 columns", true));
    assert_eq!(table(&view).0, ["id int64", "name text", "x float64"]);
    assert_eq!(table(&view).1, [["1", "a, \"b\"\nc", "1.5"]]);
    let view = show(b"1;2\n3;4\n", Some("csv"), None, 9);
    assert_eq!(table(&view).0, ["1 int64", "2 int64"]);
    assert_eq!((table(&view).1.len(), view.truncated), (2, false));
    let view = show(b"a\tb,c\n1\t2\n", None, Some("t.tsv"), 9);
    assert_eq!((view.format.as_str(), table(&view).0), ("tsv", vec!["a int64".to_owned(), "b,c int64".to_owned()]));
    let long = [b"a,b\n".to_vec(), b"1,2\n".repeat(400_000)].concat();
    let view = show(&long, Some("csv"), None, 5);
    assert_eq!((view.summary.as_str(), table(&view).2, view.truncated), ("2 columns, 1,600,004 bytes", None, true));
}

#[test]
fn json_is_cut_at_every_level() {
    let view = show(br#"{"a":[1,2,3],"b":{"c":"d"}}"#, None, Some("x.json"), 2);
    assert_eq!((view.summary.as_str(), view.truncated), ("an object of 2 members", true));
    let Body::Json(value) = view.body else { panic!("{view:?}") };
    assert_eq!(value, serde_json::json!({"a": [1, 2, "… 1 more"], "b": {"c": "d"}}));
    let view = show(b"[1]\nx", Some("json"), None, 2);
    assert!(view.summary.starts_with("2 lines, not readable as json: trailing characters"), "{}", view.summary);
    let view = show(b"{\"a\":1}\n{\"a\":2}\n", None, Some("x.jsonl"), 1);
    assert_eq!((view.summary.as_str(), view.truncated), ("2 lines, the first an object of 1 member", true));
    assert_eq!(lines(&view), ["{\"a\":1}"]);
}

#[test]
fn text_is_shown_by_lines() {
    let view = show("grün\nb\n".as_bytes(), Some("text/str"), None, 9);
    assert_eq!((view.format.as_str(), view.summary.as_str(), view.truncated), ("text", "2 lines", false));
    assert_eq!(lines(&view), ["grün", "b"]);
    // A character is cut where reading stops.
    let long = format!("x{}", "ü".repeat(1 << 20));
    let view = show(long.as_bytes(), None, None, 9);
    assert_eq!((view.summary.as_str(), view.truncated), ("2,097,153 bytes", true));
    assert_eq!(lines(&view)[0].chars().count(), 200);
}
