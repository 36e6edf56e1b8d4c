//! What step code hands over as descriptors: which of it is content that nobody can change any more, and as what it
//! is saved.

use super::{StepError, saves::Handed};
use crate::marshal::Source;
use kale_protocol::{limits, path::ArtifactPath};
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use std::fs::File;

/// All files as sealed memory; none if any of them can still be written to, cut or made longer.
pub(super) fn sealed(files: &[File]) -> Option<Handed> {
    let wanted = SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW;
    let mut handed = Handed { bytes: 0, descriptors: files.len() };
    for file in files {
        // Only memory files have seals at all.
        let seals = SealFlag::from_bits_truncate(fcntl(file, FcntlArg::F_GET_SEALS).ok()?);
        if !seals.contains(wanted) {
            return None;
        }
        handed.bytes = handed.bytes.checked_add(file.metadata().ok()?.len())?;
    }
    (!files.is_empty()).then_some(handed)
}

/// Descriptors as a source: parts of one or several files each, or one stream.
pub(super) fn source(names: &[String], stripes: &[u32], mut files: Vec<File>) -> Result<Source, StepError> {
    let all = if stripes.is_empty() { names.len() as u64 } else { stripes.iter().map(|one| u64::from(*one)).sum() };
    let matching = stripes.is_empty() || stripes.len() == names.len() && !stripes.contains(&0);
    if names.is_empty() || !matching || all != files.len() as u64 {
        return Err(StepError::settings(
            format!("{} parts of {all} descriptors were named and {} descriptors came", names.len(), files.len()),
            format!("send as many as the parts have, 1 to {}", limits::IPC_DESCRIPTORS),
        ));
    }
    if let ([only], [file]) = (names, files.as_slice())
        && only.is_empty()
        && !file.metadata().is_ok_and(|found| found.is_file())
    {
        // A pipe, such as the client's stdin: read to its end.
        return Ok(Source::Reader(Box::new(files.remove(0))));
    }
    let mut parts = Vec::with_capacity(names.len());
    let mut files = files.into_iter();
    for (number, name) in names.iter().enumerate() {
        let path = ArtifactPath::new(name.clone().into_bytes())
            .map_err(|error| StepError::settings(error.to_string(), "name parts by relative paths"))?;
        let count = stripes.get(number).map_or(1, |count| *count as usize);
        parts.push((path, files.by_ref().take(count).collect()));
    }
    Ok(Source::Striped(parts))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::memfd::{MFdFlags, memfd_create};
    use std::io::Write;

    fn memory(content: &[u8], seals: SealFlag) -> File {
        let mut file = File::from(memfd_create(c"test", MFdFlags::MFD_ALLOW_SEALING).unwrap());
        file.write_all(content).unwrap();
        fcntl(&file, FcntlArg::F_ADD_SEALS(seals)).unwrap();
        file
    }

    #[test]
    fn only_what_nobody_can_change_is_sealed() {
        let size = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW;
        let fully = || memory(b"abc", size | SealFlag::F_SEAL_WRITE);
        let handed = sealed(&[fully(), fully()]).unwrap();
        assert_eq!((handed.bytes, handed.descriptors), (6, 2));
        assert!(sealed(&[fully(), memory(b"", size)]).is_none());
        assert!(sealed(&[memory(b"", SealFlag::F_SEAL_WRITE)]).is_none());
        assert!(sealed(&[tempfile::tempfile().unwrap()]).is_none());
        assert!(sealed(&[]).is_none());
    }

    #[test]
    fn stripes_and_descriptors_have_to_agree() {
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        let files = |count: usize| (0..count).map(|_| tempfile::tempfile().unwrap()).collect::<Vec<_>>();
        let Source::Striped(parts) = source(&names(&["a", "b"]), &[2, 1], files(3)).unwrap() else { panic!("parts") };
        assert_eq!(parts.iter().map(|(_, files)| files.len()).collect::<Vec<_>>(), [2, 1]);
        assert!(source(&names(&["a", "b"]), &[], files(2)).is_ok());
        for (stripes, count) in
            [(&[2, 1][..], 2), (&[3][..], 3), (&[0, 2][..], 2), (&[][..], 1), (&[u32::MAX, 1][..], 0)]
        {
            assert!(source(&names(&["a", "b"]), stripes, files(count)).is_err(), "{stripes:?} {count}");
        }
    }
}
