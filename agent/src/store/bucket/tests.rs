use super::read_ahead::copy;
use bytes::Bytes;

#[test]
fn parts_are_read_as_one() {
    let parts = [&b"01"[..], b"", b"234", b"5"].map(Bytes::from_static);
    for from in 0..=6 {
        for bytes in 0..=7 {
            let mut buffer = vec![0; bytes];
            let whole = from + bytes <= 6;
            assert_eq!(copy(&parts, from as u64, &mut buffer), whole, "{from} {bytes}");
            assert!(!whole || buffer == b"012345"[from..from + bytes]);
        }
    }
}
