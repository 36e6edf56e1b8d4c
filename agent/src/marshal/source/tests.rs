use super::*;
use std::io::Write;

fn file(content: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(content).unwrap();
    file
}

#[test]
fn several_files_are_read_as_one() {
    let parts: [&[u8]; 4] = [b"abc", b"", b"d", b"efgh"];
    let all = parts.concat();
    let striped = Striped::new(parts.map(|part| file(part).into()).into()).unwrap().unwrap();
    assert_eq!(length(&striped.stat().unwrap()), 8);
    for start in 0..=8 {
        for end in start..=8 {
            let mut read = vec![0; end - start];
            striped.read_exact_at(&mut read, start as u64).unwrap();
            assert_eq!(read, all[start..end], "{start}..{end}");
        }
    }
    assert!(striped.read_exact_at(&mut [0; 2], 7).is_err());
    assert!(Striped::new(Vec::new()).unwrap().is_none());
}

#[test]
fn a_change_of_any_of_several_files_is_seen() {
    let kept = file(b"cd");
    let striped = Striped::new(vec![file(b"ab").into(), kept.try_clone().unwrap().into()]).unwrap().unwrap();
    let stat = striped.stat().unwrap();
    let regular = Regular::new(striped, PathBuf::from("x"), stat);
    regular.check_unchanged().unwrap();
    (&kept).write_all(b"e").unwrap();
    assert!(matches!(regular.check_unchanged(), Err(MarshalError::Changed { .. })));
}
