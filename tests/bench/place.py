"""The folder that a benchmark works in: what is measured lies below it, and so does its trash."""

import ctypes
import os
import shutil
import time
from pathlib import Path

# A folder of more files than this is small-file trash: see Place.discard.
MANY_FILES = 1000
# Small-file trash stays until the end, unless there is no longer room for this many times what is handled next.
COPIES = 10
RESERVE = 5 << 30
# ext4 passes over inodes that were deleted in the last minute one by one.
SETTLE_SECONDS = 65

PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent(number):
    """For a new child: it gets this signal when the process that started it is gone."""
    _libc.prctl(PR_SET_PDEATHSIG, number)


def tree_bytes(path):
    """The bytes of all regular files below a folder, hard links once."""
    seen, total, stack = set(), 0, [os.fspath(path)]
    while stack:
        with os.scandir(stack.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    stack.append(entry.path)
                elif entry.is_file(follow_symlinks=False):
                    status = entry.stat(follow_symlinks=False)
                    if status.st_nlink == 1 or status.st_ino not in seen:
                        seen.add(status.st_ino)
                        total += status.st_size
    return total


def source_bytes(path):
    """The bytes of a file, or of all files of a folder."""
    return tree_bytes(path) if Path(path).is_dir() else os.path.getsize(path)


def has_many_files(path):
    """Whether a folder has more files than can be deleted without slowing down what follows."""
    count = 0
    for _, folders, files in os.walk(path):
        count += len(folders) + len(files)
        if count > MANY_FILES:
            return True
    return False


class Place:
    """The work folder, its file system, and its trash."""

    def __init__(self, root):
        self.root = Path(root).resolve()
        self.trash = self.root / "trash"
        for folder in (self.trash, self.root / "rounds", self.root / "home", self.root / "out"):
            folder.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(self.root, os.O_RDONLY)
        self._number = 0

    def sync(self):
        """Writes back everything of the file system, and returns the seconds that took."""
        began = time.perf_counter()
        if _libc.syncfs(self._descriptor) != 0:
            os.sync()
        return time.perf_counter() - began

    def discard(self, path):
        """Gets rid of what was measured: a few large files now, many small ones into the trash.

        Files that are created soon after thousands were deleted cost ten times as much on ext4.
        """
        path = Path(path)
        if not path.exists():
            return
        if path.is_dir() and has_many_files(path):
            self._number += 1
            path.rename(self.trash / f"{os.getpid()}-{self._number}")
        elif path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()

    def fresh(self, name):
        """A new empty folder for one peer of one round."""
        path = self.root / "rounds" / name
        self.discard(path)
        path.mkdir()
        return path

    def make_room(self, size):
        """Empties the trash if the disk could become full, and waits until that no longer disturbs."""
        if shutil.disk_usage(self.root).free < RESERVE + COPIES * size and any(self.trash.iterdir()):
            self.empty()
            self.settle()

    def settle(self):
        """Waits until files that were deleted no longer slow down new ones."""
        self.sync()
        time.sleep(SETTLE_SECONDS)

    def empty(self):
        """Deletes the trash, and what an earlier run that was ended left behind; says whether it was much."""
        much = False
        for folder in (self.trash, self.root / "rounds"):
            for path in folder.iterdir():
                much = much or has_many_files(path)
                shutil.rmtree(path)
        self.sync()
        return much
