"""Touches so many bytes of memory and gives them back: the next process finds pages that the machine has already.

A virtual machine gets memory from its host when it is first touched, at up to seconds a GiB, and returns what was free
for a while. Without this the same copy takes 0.3 s or 3 s. What is written to a file comes from other free lists of the
kernel than a process's own memory (folios of many sizes beside huge pages), so both are asked for.
"""

import mmap
import os
import sys

PIECE = bytes(1 << 20)


def touch(size):
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        try:
            memory.madvise(mmap.MADV_HUGEPAGE)
        except OSError:
            pass
    for offset in range(0, size, mmap.PAGESIZE):
        memory[offset] = 1
    memory.close()


def write(size, path):
    """Fills the page cache by a file that is removed before anything of it has to reach the medium."""
    with open(path, "wb", buffering=0) as file:
        try:
            for _ in range(size // len(PIECE)):
                file.write(PIECE)
        finally:
            os.unlink(path)


if __name__ == "__main__":
    touch(int(sys.argv[1]))
    write(int(sys.argv[1]) // 2, sys.argv[2])
