//! What step code hands over as descriptors: which of it is content that nobody can change any more, and as what it
//! is saved.

use super::{StepError, saves::Handed};
use crate::{
    marshal::{Source, Stretch, Stripe},
    snapshot::Snapshot,
};
use kale_protocol::{ipc, limits, path::ArtifactPath};
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use std::{fs::File, io, ops::Range, sync::Arc};

/// All files as sealed memory; none if any of them can still be written to, cut or made longer.
pub(super) fn sealed(files: &[File]) -> Option<Handed> {
    let wanted = SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW;
    let mut handed = Handed { bytes: 0, memory: 0, descriptors: files.len() };
    for file in files {
        // Only memory files have seals at all.
        let seals = SealFlag::from_bits_truncate(fcntl(file, FcntlArg::F_GET_SEALS).ok()?);
        if !seals.contains(wanted) {
            return None;
        }
        handed.bytes = handed.bytes.checked_add(file.metadata().ok()?.len())?;
    }
    handed.memory = handed.bytes;
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
        let path = part(name)?;
        let count = stripes.get(number).map_or(1, |count| *count as usize);
        parts.push((path, files.by_ref().take(count).map(Stripe::from).collect()));
    }
    Ok(Source::Striped(parts))
}

fn part(name: &str) -> Result<ArtifactPath, StepError> {
    ArtifactPath::new(name.to_owned().into_bytes())
        .map_err(|error| StepError::settings(error.to_string(), "name parts by relative paths"))
}

/// A client's snapshot as a source: parts of one or several stretches each. `None` where the system does not let us read it,
/// or some of it is memory that others may change; `client` is who asks.
pub(super) fn snapshot(
    names: &[String],
    told: &ipc::Snapshot,
    client: i32,
) -> Result<Option<(Source, Arc<Snapshot>, Handed)>, StepError> {
    let stretches = told.parts.iter().flatten();
    let Some(bytes) = stretches.clone().try_fold(0, |all: u64, (_, bytes)| all.checked_add(*bytes)) else {
        return Err(wrong_snapshot("it is longer than any memory".to_owned()));
    };
    if names.is_empty() || names.len() != told.parts.len() || told.parts.iter().any(Vec::is_empty) {
        return Err(wrong_snapshot(format!("{} parts were named and {} told", names.len(), told.parts.len())));
    }
    let Some(places) = stretches.map(|&(start, bytes)| Some(start..start.checked_add(bytes)?)).collect() else {
        return Err(wrong_snapshot("one of its stretches has no end".to_owned()));
    };
    let Ok(Some((snapshot, stretches, own_bytes))) = readable(told.pid, client, places) else { return Ok(None) };
    let mut stretches = stretches.into_iter().map(Stripe::Memory);
    let mut parts = Vec::with_capacity(names.len());
    for (name, stripes) in names.iter().zip(&told.parts) {
        parts.push((part(name)?, stretches.by_ref().take(stripes.len()).collect()));
    }
    // One tells whether it lives, the other is its memory.
    let handed = Handed { bytes, memory: own_bytes.max(bytes), descriptors: 2 };
    Ok(Some((Source::Striped(parts), snapshot, handed)))
}

fn wrong_snapshot(what: String) -> StepError {
    StepError::settings(
        format!("cannot use a snapshot: {what}"),
        "send for each part the address and length of one or more stretches",
    )
}

/// A snapshot, its stretches, and how much memory the process has that it was made of.
type Readable = (Arc<Snapshot>, Vec<Stretch>, u64);

fn readable(pid: i32, client: i32, places: Vec<Range<u64>>) -> io::Result<Option<Readable>> {
    let snapshot = Arc::new(Snapshot::open(pid, client)?);
    if !snapshot.has(places.iter().cloned())? {
        return Ok(None);
    }
    if let Some(first) = places.iter().find(|place| !place.is_empty()) {
        // Maps are shown to some whom the system does not let read what is in them.
        snapshot.read_exact_at(&mut [0], first.start)?;
    }
    let own_bytes = snapshot.own_bytes()?;
    let stretches = Stretch::of(&snapshot, places.into_iter())?;
    Ok(Some((snapshot, stretches, own_bytes)))
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
