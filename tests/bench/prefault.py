"""Touches so many bytes of memory and gives them back: the next process finds pages that the machine has already.

A virtual machine gets memory from its host when it is first touched, at up to seconds a GiB, and returns what was free
for a while. Without this the same copy takes 0.3 s or 3 s.
"""

import mmap
import sys


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


if __name__ == "__main__":
    touch(int(sys.argv[1]))
