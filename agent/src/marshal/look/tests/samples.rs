//! One content of each format.

use arrow::{
    array::{ArrayRef, DictionaryArray, Float64Array, Int64Array, ListArray, RecordBatch, StringArray},
    datatypes::{Int32Type, Int64Type},
    ipc::{
        CompressionType,
        writer::{FileWriter, IpcWriteOptions, StreamWriter},
    },
};
use parquet::{arrow::ArrowWriter, basic::Compression, file::properties::WriterProperties};
use std::sync::Arc;

/// A header of version 1 and values.
pub(super) fn npy(descr: &str, fortran: bool, shape: &str, values: &[u8]) -> Vec<u8> {
    let fortran = if fortran { "True" } else { "False" };
    let header = format!("{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}\n");
    let length = (header.len() as u16).to_le_bytes();
    [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes(), values].concat()
}

/// An archive of members that are stored, or claimed to be deflated.
pub(super) fn zip(members: &[(&str, u16, &[u8])]) -> Vec<u8> {
    let (mut bytes, mut directory) = (Vec::new(), Vec::new());
    for (name, method, content) in members {
        let offset = bytes.len() as u32;
        let length = (content.len() as u32).to_le_bytes();
        let name_length = (name.len() as u16).to_le_bytes();
        let middle = [&method.to_le_bytes()[..], &[0; 8], &length, &length, &name_length, &[0; 2]].concat();
        bytes.extend([b"PK\x03\x04\x14\0\0\0", &middle[..], name.as_bytes(), content].concat());
        directory.extend([b"PK\x01\x02\x14\0\x14\0\0\0", &middle[..], &[0; 10], &offset.to_le_bytes()].concat());
        directory.extend(name.as_bytes());
    }
    let count = (members.len() as u16).to_le_bytes();
    let (length, offset) = (directory.len() as u32, bytes.len() as u32);
    bytes.extend(directory);
    bytes.extend(
        [b"PK\x05\x06\0\0\0\0", &count[..], &count, &length.to_le_bytes(), &offset.to_le_bytes(), &[0; 2]].concat(),
    );
    bytes
}

pub(super) fn npz() -> Vec<u8> {
    zip(&[("x.npy", 0, &npy("'<f4'", false, "(2, 3)", &[0; 24])), ("y.npy", 8, b"packed")])
}

pub(super) fn safetensors() -> Vec<u8> {
    let header = br#"{"__metadata__":{"a":"b"},"w":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"b":{"dtype":"BF16","shape":[],"data_offsets":[24,26]}}"#;
    [&(header.len() as u64).to_le_bytes()[..], header, &[0; 26]].concat()
}

/// `{'a': [1, 2.5], 'os': os.system('ls')}`, protocol 4.
pub(super) fn pickle() -> Vec<u8> {
    let mut bytes = b"\x80\x04\x95\x40\0\0\0\0\0\0\0}\x94(\x8c\x01a\x94]\x94(K\x01G".to_vec();
    bytes.extend(2.5_f64.to_be_bytes());
    bytes.extend(b"e\x8c\x02os\x94h\x03\x8c\x06system\x94\x93\x94\x8c\x02ls\x94\x85\x94R\x94u.");
    bytes
}

pub(super) fn batch(rows: i64) -> RecordBatch {
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows));
    let halves: ArrayRef = Arc::new(Float64Array::from_iter((0..rows).map(|n| (n % 2 == 0).then_some(n as f64 / 2.0))));
    let texts: ArrayRef = Arc::new(StringArray::from_iter_values((0..rows).map(|n| format!("row {n}"))));
    let words: DictionaryArray<Int32Type> = (0..rows).map(|n| if n % 3 == 0 { "fizz" } else { "none" }).collect();
    let lists = ListArray::from_iter_primitive::<Int64Type, _, _>((0..rows).map(|n| Some([Some(n), None])));
    let columns =
        [("n", numbers), ("half", halves), ("text", texts), ("word", Arc::new(words)), ("list", Arc::new(lists))];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap()
}

pub(super) fn parquet(batch: &RecordBatch, compression: Compression) -> Vec<u8> {
    let properties = WriterProperties::builder()
        .set_compression(compression)
        .set_max_row_group_row_count(Some(700))
        .set_data_page_row_count_limit(100)
        .set_write_batch_size(100)
        .build();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties)).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
    bytes
}

pub(super) fn arrow_file(batch: &RecordBatch, batches: usize, compression: Option<CompressionType>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let options = IpcWriteOptions::default().try_with_compression(compression).unwrap();
    let mut writer = FileWriter::try_new_with_options(&mut bytes, &batch.schema(), options).unwrap();
    (0..batches).for_each(|_| writer.write(batch).unwrap());
    writer.finish().unwrap();
    drop(writer);
    bytes
}

pub(super) fn arrow_stream(batch: &RecordBatch, batches: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = StreamWriter::try_new(&mut bytes, &batch.schema()).unwrap();
    (0..batches).for_each(|_| writer.write(batch).unwrap());
    writer.finish().unwrap();
    drop(writer);
    bytes
}

pub(super) fn png() -> Vec<u8> {
    [&b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\x02\x80\0\0\x01\xe0\x08\x06\0\0\0"[..], &[0; 20]].concat()
}

pub(super) fn jpeg() -> Vec<u8> {
    b"\xff\xd8\xff\xe0\0\x04ab\xff\xc4\0\x03a\xff\xc2\0\x0b\x08\x01\xe0\x02\x80\x01\x01\x11\0\xff\xd9".to_vec()
}
