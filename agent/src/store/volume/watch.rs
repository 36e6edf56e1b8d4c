//! Watching for new objects by inotify, where all who write to the volume do so through this host's own kernel.

use super::{
    super::{Watch, Watched},
    is_hidden,
    root::Root,
};
use kale_protocol::layout::Key;
use nix::{
    errno::Errno,
    sys::{
        inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor},
        statfs::{
            BTRFS_SUPER_MAGIC, EXT4_SUPER_MAGIC, FsType, OVERLAYFS_SUPER_MAGIC, TMPFS_MAGIC, XFS_SUPER_MAGIC, statfs,
        },
    },
};
use std::{
    collections::BTreeSet,
    os::fd::{AsFd, BorrowedFd},
    path::{Path, PathBuf},
};

/// File systems that no other host writes to: a list, since what is unknown (NFS, CIFS, Lustre, FUSE) may be shared.
const LOCAL: [FsType; 9] = [
    EXT4_SUPER_MAGIC,
    XFS_SUPER_MAGIC,
    BTRFS_SUPER_MAGIC,
    TMPFS_MAGIC,
    OVERLAYFS_SUPER_MAGIC,
    ZFS,
    F2FS,
    BCACHEFS,
    RAMFS,
];
const ZFS: FsType = FsType(0x2fc1_2fc1);
const F2FS: FsType = FsType(0xf2f5_2010);
const BCACHEFS: FsType = FsType(0xca45_1a4e);
const RAMFS: FsType = FsType(0x8584_58f6);

/// A watch over folders of one volume.
#[derive(Debug)]
pub(super) struct VolumeWatch {
    root: PathBuf,
    inotify: Inotify,
    folders: BTreeSet<WatchDescriptor>,
}

/// Begins a watch that watches nothing yet; `None` where other hosts may write, or the system gives no watch.
pub(super) fn begin(root: &Root) -> Option<VolumeWatch> {
    let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC).ok()?;
    is_local(root).then(|| VolumeWatch { root: root.to_path_buf(), inotify, folders: BTreeSet::new() })
}

fn is_local(folder: &Path) -> bool {
    statfs(folder).is_ok_and(|found| LOCAL.contains(&found.filesystem_type()))
}

impl Watch for VolumeWatch {
    fn add(&mut self, folder: &Key) -> Watched {
        let flags = AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_MOVE_SELF
            | AddWatchFlags::IN_ONLYDIR;
        let mut path = self.root.join(folder.as_str());
        loop {
            match self.inotify.add_watch(&path, flags) {
                // A volume of another kind may be mounted inside of this one.
                Ok(_) if !is_local(&path) => return Watched::Not,
                Ok(watched) if self.folders.insert(watched) => return Watched::Anew,
                Ok(_) => return Watched::Already,
                Err(Errno::ENOENT | Errno::ENOTDIR) if path != self.root && path.pop() => {}
                // Too many, or no right to read it.
                Err(_) => return Watched::Not,
            }
        }
    }

    fn appeared(&mut self) -> bool {
        let mut appeared = false;
        loop {
            match self.inotify.read_events() {
                Ok(events) => events.iter().for_each(|event| appeared |= self.counts(event)),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return appeared,
                Err(_) => return true,
            }
        }
    }
}

impl VolumeWatch {
    /// Whether what happened is a reason to look; a folder that is gone is watched no more.
    fn counts(&mut self, event: &InotifyEvent) -> bool {
        if event.mask.contains(AddWatchFlags::IN_IGNORED) {
            self.folders.remove(&event.wd);
        }
        // Without a name it is the folder itself that changed, or so much that the kernel dropped what it was.
        event.name.as_ref().is_none_or(|name| !name.to_str().is_some_and(is_hidden))
    }
}

impl AsFd for VolumeWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Sync, Volume},
        *,
    };
    use crate::store::Transport;
    use kale_protocol::layout;
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use std::fs;

    fn shard(index: u32) -> layout::ShardId {
        let run = layout::RunId { pipeline: "p".parse().unwrap(), run: "r".parse().unwrap() };
        layout::ShardId { run, step: "train".parse().unwrap(), index }
    }

    fn wakes(watch: &VolumeWatch) -> bool {
        poll(&mut [PollFd::new(watch.as_fd(), PollFlags::POLLIN)], PollTimeout::ZERO).unwrap() == 1
    }

    fn made() -> (tempfile::TempDir, Volume, VolumeWatch) {
        let folder = tempfile::tempdir().unwrap();
        let volume = Volume::open_with(folder.path(), Sync::Never).unwrap();
        let watch = begin(&volume.root).expect("tests run on a local file system");
        (folder, volume, watch)
    }

    #[test]
    fn what_appears_is_told_from_the_first_folder_down_to_the_object() {
        let (_folder, volume, mut watch) = made();
        let awaited = layout::shard(&shard(3));
        assert_eq!((watch.add(&awaited), watch.add(&awaited)), (Watched::Anew, Watched::Already));
        assert!(!wakes(&watch) && !watch.appeared());
        let started = layout::run(&shard(3).run);
        volume.create(&started, b"x").unwrap();
        assert!(wakes(&watch) && watch.appeared() && !wakes(&watch));
        // The run's folder is nearer now.
        assert_eq!((watch.add(&awaited), watch.add(&awaited)), (Watched::Anew, Watched::Already));
        volume.create(&layout::commit(&shard(3)), b"x").unwrap();
        assert!(wakes(&watch) && watch.appeared());
        assert_eq!(watch.add(&awaited), Watched::Anew);
        volume.create(&awaited.child("other").unwrap(), b"x").unwrap();
        assert!(watch.appeared() && !watch.appeared());
    }

    #[test]
    fn what_is_unfinished_or_lies_elsewhere_is_not_told() {
        let (_folder, volume, mut watch) = made();
        volume.create(&layout::commit(&shard(0)), b"x").unwrap();
        assert_eq!(watch.add(&layout::shard(&shard(0))), Watched::Anew);
        let writer = volume.writer(&layout::shard(&shard(0)).child("long").unwrap()).unwrap();
        volume.create(&layout::commit(&shard(1)), b"x").unwrap();
        assert!(!watch.appeared());
        writer.publish().unwrap();
    }

    #[test]
    fn a_folder_that_is_removed_and_made_again_is_watched_again() {
        let (_folder, volume, mut watch) = made();
        let commit = layout::commit(&shard(0));
        volume.create(&commit, b"x").unwrap();
        let awaited = layout::shard(&shard(0));
        assert_eq!(watch.add(&awaited), Watched::Anew);
        volume.remove_folder(&awaited).unwrap();
        assert!(watch.appeared());
        volume.create(&commit, b"x").unwrap();
        assert_eq!(watch.add(&awaited), Watched::Anew);
        volume.remove(&commit).unwrap();
        assert!(!watch.appeared());
        volume.create(&commit, b"x").unwrap();
        assert!(watch.appeared());
    }

    #[test]
    fn more_than_the_kernel_keeps_is_a_reason_to_look() {
        let (folder, _volume, mut watch) = made();
        assert_eq!(watch.add(&layout::root()), Watched::Anew);
        let limit = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
        let limit: u64 = limit.trim().parse().unwrap();
        let hidden = folder.path().join(format!("{}x", super::super::publish::TEMPORARY));
        let other = folder.path().join(format!("{}y", super::super::publish::TEMPORARY));
        fs::write(&hidden, b"x").unwrap();
        for _ in 0..=limit / 2 {
            fs::rename(&hidden, &other).unwrap();
            fs::rename(&other, &hidden).unwrap();
        }
        assert!(watch.appeared());
    }

    #[test]
    fn where_other_hosts_may_write_nothing_is_promised() {
        assert!(is_local(&std::env::temp_dir()));
        assert!(!is_local(Path::new("/proc")) && !is_local(Path::new("/no/such/folder")));
    }
}
