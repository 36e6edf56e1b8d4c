use super::{
    publish::{Occupant, Temporary, occupant},
    *,
};
use crate::store::{Fault, Faulty};
use kale_protocol::{id::PackId, layout};
use nix::errno::Errno;
use std::{
    io::Write,
    os::unix::fs::{PermissionsExt, symlink},
    sync::Arc,
    time::{Duration, SystemTime},
};

fn volume() -> (tempfile::TempDir, Arc<Volume>) {
    let folder = tempfile::tempdir().unwrap();
    let volume = Volume::open(folder.path()).unwrap();
    (folder, Arc::new(volume))
}

fn pack(number: u8) -> Key {
    layout::pack(&PackId([number; 16]))
}

/// Names of all files under a folder.
pub(super) fn files_under(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            found.extend(files_under(&entry.path()));
        } else {
            found.push(entry.file_name().into_string().unwrap());
        }
    }
    found
}

fn temporary(volume: &Volume, target: &Path, content: &[u8]) -> Temporary {
    let mut temporary = Temporary::beside(&volume.root, target).unwrap();
    temporary.file().write_all(content).unwrap();
    temporary
}

fn only_temporary(folder: &Path) -> PathBuf {
    let names = files_under(folder);
    let [only] = names.as_slice() else { panic!("{names:?}") };
    assert!(only.starts_with(publish::TEMPORARY), "{only}");
    folder.join(only)
}

#[test]
fn absent_files_and_places_that_are_none() {
    let folder = tempfile::tempdir().unwrap();
    let absent = Volume::open(&folder.path().join("absent")).unwrap_err();
    assert!(matches!(absent, StoreError::Absent { .. }), "{absent}");
    let file = folder.path().join("file");
    fs::write(&file, b"x").unwrap();
    assert!(matches!(Volume::open(&file), Err(StoreError::NotAStore { .. })));
    let below = Volume::create(&file.join("below")).unwrap_err();
    assert!(matches!(&below, StoreError::Io { place, .. } if place.contains("file/below")), "{below}");
}

#[test]
fn what_cannot_be_written_names_the_place() {
    let (folder, volume) = volume();
    fs::write(folder.path().join("packs"), b"in the way").unwrap();
    let error = volume.create(&pack(1), b"x").unwrap_err();
    let StoreError::Io { place, source, .. } = &error else { panic!("{error}") };
    assert!(place.contains(&format!("{}/packs/01", volume.location())), "{place}");
    assert_eq!(source.kind(), io::ErrorKind::NotADirectory);
    assert_eq!(fs::read(folder.path().join("packs")).unwrap(), b"in the way");
}

#[test]
fn objects_are_read_only_and_alone() {
    let (folder, volume) = volume();
    volume.create(&pack(1), b"x").unwrap();
    let path = volume.local_path(&pack(1)).unwrap();
    let found = fs::metadata(&path).unwrap();
    assert_eq!((found.permissions().mode() & 0o7777, found.nlink()), (0o444, 1));
    volume.create(&pack(1), b"y").unwrap();
    for (content, soon) in [(b"z", false), (b"s", true), (b"t", true)] {
        let key = layout::marker();
        if soon { volume.replace_soon(&key, content) } else { volume.replace(&key, content) }.unwrap();
        assert_eq!(volume.read(&layout::marker(), 9).unwrap(), content);
        let found = fs::metadata(volume.local_path(&layout::marker()).unwrap()).unwrap();
        assert_eq!((found.permissions().mode() & 0o7777, found.nlink()), (0o444, 1));
        assert_eq!(files_under(folder.path()).len(), 2);
    }
}

#[test]
fn a_lost_reply_to_a_link_is_found_out() {
    let (folder, volume) = volume();
    let target = folder.path().join("object");
    let own = temporary(&volume, &target, b"own");
    // As a server would have done it for a call whose reply was lost; the repeated call is told that it exists.
    fs::hard_link(only_temporary(folder.path()), &target).unwrap();
    assert_eq!(own.publish(&target).unwrap(), Created::New);
    assert_eq!(files_under(folder.path()), ["object"]);
    let other = temporary(&volume, &target, b"other");
    assert_eq!(other.publish(&target).unwrap(), Created::Exists);
    assert_eq!(fs::read(target).unwrap(), b"own");
}

#[test]
fn without_hard_links_a_rename_takes_only_a_free_name() {
    let folder = tempfile::tempdir().unwrap();
    let [first, second, target] = ["first", "second", "target"].map(|name| folder.path().join(name));
    fs::write(&first, b"first").unwrap();
    fs::write(&second, b"second").unwrap();
    publish::rename_if_absent(&first, &target).unwrap();
    let taken = publish::rename_if_absent(&second, &target).unwrap_err();
    assert_eq!(taken.kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(fs::read(&target).unwrap(), b"first");
}

#[test]
fn a_writer_that_heals_late_does_not_take_away_what_was_published() {
    let (folder, volume) = volume();
    let target = folder.path().join("object");
    fs::write(&target, b"").unwrap();
    let (first, late) = (temporary(&volume, &target, b"first"), temporary(&volume, &target, b"late"));
    assert_eq!(heal::heal(first, &target).unwrap(), Created::New);
    // It had found the object empty before the first one healed it.
    assert_eq!(heal::heal(late, &target).unwrap(), Created::Exists);
    assert_eq!(fs::read(&target).unwrap(), b"first");
}

#[test]
fn one_that_died_while_healing_is_finished_for() {
    let (folder, volume) = volume();
    let (target, stand_in) = (volume.path(&layout::marker()), folder.path().join(".kale-heal-0-kale-store"));
    fs::write(&target, b"").unwrap();
    fs::write(&stand_in, b"dead").unwrap();
    assert_eq!(volume.create(&layout::marker(), b"own").unwrap(), Created::Exists);
    assert_eq!(volume.read(&layout::marker(), 100).unwrap(), b"dead");
    assert_eq!(volume.list(&layout::root()).unwrap(), [Entry::Object("kale-store".to_owned())]);
    // The medium loses it again, with the stand-in.
    fs::remove_file(&target).unwrap();
    fs::write(&target, b"").unwrap();
    fs::write(&stand_in, b"").unwrap();
    assert_eq!(volume.create(&layout::marker(), b"own").unwrap(), Created::New);
    assert_eq!(volume.read(&layout::marker(), 100).unwrap(), b"own");
    volume.remove(&layout::marker()).unwrap();
    assert_eq!(files_under(folder.path()), Vec::<String>::new());
}

#[test]
fn nothing_is_followed_and_nothing_else_is_an_object() {
    let (folder, volume) = volume();
    let outside = tempfile::tempdir().unwrap();
    let secret = outside.path().join("secret");
    fs::write(&secret, b"secret").unwrap();
    let marker = layout::marker();
    symlink(&secret, folder.path().join(marker.as_str())).unwrap();
    assert!(volume.read(&marker, 100).is_err());
    assert!(volume.read_at(&marker, 0, &mut [0]).is_err());
    assert_eq!(volume.stat(&marker).unwrap(), None);
    assert_eq!(volume.list(&layout::root()).unwrap(), []);
    assert!(volume.create(&marker, b"x").is_err());
    volume.remove(&marker).unwrap();
    // A FIFO would hold up whoever opens it.
    nix::unistd::mkfifo(&folder.path().join(marker.as_str()), nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(volume.read(&marker, 100).unwrap_err().is_not_found());
    assert!(volume.create(&marker, b"x").is_err());
    fs::create_dir_all(folder.path().join("runs/p/r")).unwrap();
    symlink(outside.path(), folder.path().join("runs/p/r/s")).unwrap();
    volume.remove_folder(&layout::runs()).unwrap();
    assert_eq!(volume.list(&layout::runs()).unwrap(), []);
    assert_eq!(fs::read(&secret).unwrap(), b"secret");
}

#[test]
fn many_packs_keep_few_files_open() {
    let (_folder, volume) = volume();
    for number in 0..100 {
        volume.create(&pack(number), &[number + 1]).unwrap();
    }
    for round in 0..2 {
        for number in 0..100 {
            let mut byte = [0];
            volume.read_at(&pack(number), 0, &mut byte).unwrap();
            assert_eq!(byte, [number + 1], "round {round}");
        }
        assert_eq!(volume.files.kept(), 64);
    }
}

#[test]
fn writers_that_die_leave_only_what_nobody_sees() {
    let operations = |medium: &Faulty| {
        let mut writer = medium.writer(&pack(1))?;
        writer.write(b"one")?;
        writer.write(b"two")?;
        writer.publish()
    };
    for fault in [Fault::DieBefore, Fault::DieAfter] {
        for at in 0..4 {
            let (folder, volume) = volume();
            let faulty = Faulty::new(volume.clone(), at, fault);
            assert!(operations(&faulty).is_err());
            assert!(faulty.is_dead() && faulty.read(&pack(1), 10).is_err());
            let published = at == 3 && fault == Fault::DieAfter;
            assert_eq!(volume.stat(&pack(1)).unwrap().is_some(), published);
            let shown = volume.list(&layout::packs().child("01").unwrap()).unwrap();
            assert_eq!(shown.len(), usize::from(published));
            let left = files_under(folder.path());
            // A dead writer removes nothing: what it had begun is still there, for a sweep.
            let begun = at > 0 || fault == Fault::DieAfter;
            assert_eq!(left.len(), usize::from(begun), "{fault:?} at {at}: {left:?}");
            let swept = volume.sweep(SystemTime::now() + Duration::from_secs(60)).unwrap();
            assert_eq!(swept, u64::from(begun && !published));
            assert_eq!(files_under(folder.path()).len(), usize::from(published));
        }
    }
}

#[test]
fn a_full_disk_is_said_and_leaves_nothing() {
    for at in 0..3 {
        let (folder, volume) = volume();
        let faulty = Faulty::new(volume.clone(), at, Fault::Fail(Errno::ENOSPC));
        let written = faulty.writer(&pack(1)).and_then(|mut writer| {
            writer.write(b"x")?;
            writer.publish()
        });
        let Err(StoreError::Io { source, place, .. }) = written else { panic!("{written:?}") };
        assert_eq!(source.raw_os_error(), Some(Errno::ENOSPC as i32));
        assert!(place.contains(pack(1).as_str()), "{place}");
        assert_eq!(files_under(folder.path()), Vec::<String>::new());
        // The disk has room again.
        assert_eq!(faulty.create(&pack(1), b"x").unwrap(), Created::New);
    }
}

#[test]
fn a_sweep_takes_only_what_is_old_and_temporary() {
    let (folder, volume) = volume();
    volume.create(&pack(1), b"x").unwrap();
    let mut writer = volume.writer(&pack(2)).unwrap();
    writer.write(b"y").unwrap();
    let before = SystemTime::now() - Duration::from_secs(60);
    assert_eq!(volume.sweep(before).unwrap(), 0);
    assert_eq!(writer.publish().unwrap(), Created::New);
    assert_eq!(volume.sweep(SystemTime::now() + Duration::from_secs(60)).unwrap(), 0);
    assert_eq!(files_under(folder.path()).len(), 2);
    assert_eq!(occupant(&volume.path(&pack(2))).unwrap(), Occupant::Whole);
}
