//! Content that is the same on each run.

/// Bytes that do not compress.
pub(crate) fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut out = vec![0; bytes];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut out);
    out
}

/// Lines of a table as CSV.
pub(crate) fn text(bytes: usize) -> Vec<u8> {
    let line = |i: u64| format!("{i},{},{}.{:02},flight\n", i * 7919 % 10_007, i * 31 % 900, i % 100).into_bytes();
    (0..).flat_map(line).take(bytes).collect()
}

/// Long runs of few values, in which the content rule seldom finds a cut.
pub(crate) fn poor(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|i| (i >> 12) as u8 & 3).collect()
}

/// An array of noise in the `.npy` format, which is cut at fixed lengths.
pub(crate) fn array(bytes: usize) -> Vec<u8> {
    let dict = format!("{{'descr': '|u1', 'fortran_order': False, 'shape': ({bytes},), }}");
    let mut out = b"\x93NUMPY\x01\x00\x76\x00".to_vec();
    out.extend(format!("{dict:<117}\n").into_bytes());
    out.extend(noise(1, bytes));
    out
}
