"""Memory for what is saved, and maps of what is loaded."""

from __future__ import annotations

import ctypes
import errno
import io
import mmap
import os
import shutil
import tempfile
import threading
from typing import Any, BinaryIO, Dict, Iterable, List, Optional, Tuple

from .snapshot import address, own_bytes

# From here on the agent is asked before memory is taken for a copy.
_OFFER_FROM_BYTES = 8 << 20
# From here on a copy is made by several threads, each into a memory file of its own: one has a lock for its writers.
_STRIPES_FROM_BYTES = 32 << 20
_STRIPES = 4
# A frame takes 64 descriptors.
_DESCRIPTORS = 60
_MAP_FIXED = 0x10
# Smaller writes are put together, and copied for that.
_SMALL = 1 << 20
_REFERRED_FROM_BYTES = 64 << 10
# Less is copied sooner than this process is forked, as is what is little beside all that it has.
_SNAPSHOT_FROM_BYTES = 8 << 20
_SNAPSHOT_FROM_PART = 8
# A request has 1 MiB.
_STRETCHES = 16 << 10
# fcntl has names for these only from Python 3.8 on, and not on every platform.
_ADD_SEALS, _SEALS = 1033, 1 | 2 | 4 | 8


class Parts:
    """The files of one value that is being saved: memory for the agent of a step, else files in a folder.

    Memory is used as far as the agent has room for it; beyond that, files without a name in the agent's folder.
    """

    def __init__(self, agent: Any) -> None:
        self.agent = agent
        self.folder = tempfile.mkdtemp(dir=agent.folder) if agent.folder else None
        self.files: Dict[str, Any] = {}
        self.memory = self.folder is None and hasattr(os, "memfd_create")
        self.granted = _OFFER_FROM_BYTES
        self.conversation: Any = None
        # What is referred to without a reference of its own.
        self.kept: List[Any] = []

    def __enter__(self) -> Parts:
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()
        if self.conversation is not None:
            self.conversation.close()
        if self.folder:
            shutil.rmtree(self.folder, ignore_errors=True)

    def clear(self) -> None:
        """Throws away what was written."""
        for name, file in self.files.items():
            file.close()
            if self.folder:
                os.unlink(os.path.join(self.folder, name or "value"))
        self.files.clear()
        self.kept.clear()

    def only(self, name: str) -> None:
        """Makes the one file that was added the whole artifact."""
        self.files[""] = self.files.pop(name)
        if self.folder:
            os.rename(os.path.join(self.folder, name), os.path.join(self.folder, "value"))

    def add(self, name: str) -> Any:
        """A new file; an artifact that is one file has the empty name."""
        if self.folder:
            file: Any = open(os.path.join(self.folder, name or "value"), "wb")
        else:
            file = self._in_memory() or _nameless()
        self.files[name] = file
        return file

    def _in_memory(self) -> "Optional[MemoryFile]":
        if self.memory:
            try:
                return MemoryFile(self)
            except OSError:
                self.memory = False  # Forbidden or not built in here.
        return None

    def expect(self, total: int) -> None:
        """Makes sure that there is room for so many bytes of copies; all goes to files where there is none."""
        if not self.memory or total <= self.granted:
            return
        if self.conversation is None:
            self.conversation = self.agent.converse()
        if self.conversation.ask({"op": "offer", "bytes": total}) == "memory":
            self.granted = total
            return
        self.memory = False
        for file in self.files.values():
            file.spill()

    def stretches(self) -> Optional[List[List[Tuple[int, int]]]]:
        """Where the content of each file is in the memory of this process; None where it is better copied."""
        files = list(self.files.values())
        total = sum(getattr(file, "length", 0) for file in files)
        if not self.memory or total < _SNAPSHOT_FROM_BYTES:
            return None
        try:
            if own_bytes() > total * _SNAPSHOT_FROM_PART:
                return None
            stretches = [[(address(view), view.nbytes) for view in file.views()] for file in files]
        except (AttributeError, BufferError, OSError, ValueError):
            return None  # Another Python, or a system without /proc.
        return stretches if all(stretches) and sum(map(len, stretches)) <= _STRETCHES else None

    def numbers(self) -> Dict[str, List[int]]:
        """The descriptors of each file, ready to be handed over."""
        if self.memory:
            self.expect(sum(file.length for file in self.files.values()))
        return {name: numbers(file) for name, file in self.files.items()}

    def descriptors(self) -> int:
        return sum(len(file.numbers()) for file in self.files.values())


def _nameless() -> BinaryIO:
    return tempfile.TemporaryFile("wb", dir=os.environ.get("KALE_DIR") or None)


def numbers(file: Any) -> List[int]:
    """The descriptors of one file that was added, ready to be handed over."""
    if isinstance(file, MemoryFile):
        return file.seal()
    file.flush()
    os.lseek(file.fileno(), 0, os.SEEK_SET)
    return [file.fileno()]


def write_all(file: Any, views: Iterable[Any]) -> None:
    """Writes buffers one behind the other; they are not to change until the file is handed over."""
    views = [_flat(view) for view in views]
    if isinstance(file, MemoryFile):
        file.write_all(views)
    else:
        for view in views:
            file.write(view)


class MemoryFile(io.RawIOBase):
    """A file in memory, written once, from front to end.

    Long buffers that nobody changes until it is handed over are only referred to. Then the agent reads it from a snapshot
    of this process, or it is copied into one or several memory files that count as one.
    """

    def __init__(self, parts: Parts) -> None:
        # First of all: a file that was not made is closed as well.
        self._files: List[int] = []
        self._spilled: Optional[BinaryIO] = None
        super().__init__()
        self._parts = parts
        self._views: List[memoryview] = []
        self._small = bytearray()
        self.length = 0
        # How much of it is memory that would not be there without it, as far as is known.
        self.copied = 0
        os.close(_memory_file())  # OSError here, where there are none.

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.length

    def write(self, data: Any) -> int:
        view = _flat(data)
        if type(data).__module__.startswith("pyarrow."):
            self.write_all([view])
        elif self._has_room_for(view):
            if type(data) is bytes and view.nbytes >= _REFERRED_FROM_BYTES:
                self._refer(view)
            else:
                self._copy(view)
        return view.nbytes

    def write_all(self, views: List[memoryview]) -> None:
        for view in views:
            if view.nbytes >= _REFERRED_FROM_BYTES and self._spilled is None:
                self.length += view.nbytes
                self._refer(view)
            elif self._has_room_for(view):
                self._copy(view)

    def _has_room_for(self, view: memoryview) -> bool:
        """Whether there is memory for a copy; else it is written to a file."""
        self.length += view.nbytes
        self.copied += view.nbytes
        if self._spilled is None:
            copied = sum(file.copied for file in self._parts.files.values())
            if copied > self._parts.granted:
                # Twice as much as is there: what grows by little does not ask each time.
                self._parts.expect(copied + min(self.copied, 1 << 30))
        if self._spilled is not None:
            self._spilled.write(view)
        return self._spilled is None

    def _refer(self, view: memoryview) -> None:
        self._flush()
        self._views.append(view)

    def _copy(self, view: memoryview) -> None:
        self._small += view
        if len(self._small) >= _SMALL:
            self._flush()

    def _flush(self) -> None:
        if self._small:
            self._views.append(memoryview(self._small))
            self._small = bytearray()

    def views(self) -> List[memoryview]:
        """All of it, in memory of this process."""
        self._flush()
        return self._views

    def numbers(self) -> List[int]:
        return self._files

    def spill(self) -> None:
        """Goes on in a file without a name: there is no room for more in memory."""
        self._spilled = _nameless()
        for view in self.views():
            self._spilled.write(view)
        self._views = []

    def seal(self) -> List[int]:
        """The descriptors of its content, which nobody can change any more if it is in memory and the kernel agrees."""
        import fcntl

        if self._spilled is not None:
            return numbers(self._spilled)
        if not self._files:
            self._write_files()
        for file in self._files:
            try:
                fcntl.fcntl(file, _ADD_SEALS, _SEALS)
            except OSError as error:
                # The kernel has work of its own with one of the pages, and gave it time. What is not sealed is stored
                # before the agent answers.
                if error.errno != errno.EBUSY:
                    raise
            os.lseek(file, 0, os.SEEK_SET)
        return self._files

    def _write_files(self) -> None:
        """Copies all of it, by several threads if it is long, each into a file of its own."""
        views = self.views()
        room = _DESCRIPTORS - self._parts.descriptors()
        stripes = max(1, min(_STRIPES, processors(), room)) if self.length >= _STRIPES_FROM_BYTES else 1
        shares = _shares(views, -(-self.length // stripes)) if stripes > 1 else [views]
        for _ in shares:
            self._files.append(_memory_file())
        failures: List[BaseException] = []

        def copy(file: int, share: List[memoryview]) -> None:
            try:
                for view in share:
                    _write(file, view)
            except BaseException as error:
                failures.append(error)

        # os.write lets other threads run while it copies.
        others = [threading.Thread(target=copy, args=pair) for pair in list(zip(self._files, shares))[1:]]
        started = []
        for other in others:
            try:
                other.start()
                started.append(other)
            except RuntimeError:
                other.run()  # There are no more threads, as at the end of the interpreter.
        copy(self._files[0], shares[0])
        for other in started:
            other.join()
        if failures:
            raise failures[0]

    def close(self) -> None:
        if not self.closed:
            while self._files:
                os.close(self._files.pop())
            if self._spilled is not None:
                self._spilled.close()
        super().close()


def _flat(data: Any) -> memoryview:
    view = memoryview(data)
    if not view.nbytes:
        return memoryview(b"")
    # Not every format can be cast, and single bytes need not be.
    return view if view.ndim == 1 and view.itemsize == 1 else view.cast("B")


def _memory_file() -> int:
    # 3: close on exec, and sealing is allowed.
    return os.memfd_create("kale", 3)


def processors() -> int:
    """How many threads may run at a time."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _shares(views: List[memoryview], bytes_each: int) -> List[List[memoryview]]:
    """Cuts buffers into lists of this length each, in order, or up to a page longer; the last one may be shorter."""
    shares: List[List[memoryview]] = [[]]
    room = bytes_each
    for view in views:
        while view.nbytes:
            if not room:
                shares.append([])
                room = bytes_each
            # A cut within a buffer comes after whole pages of it: where a copy's target lies just behind its source within
            # a page, processors copy byte by byte, and an allocator's buffers begin 16 bytes behind the start of one.
            taken = min(-(-room // mmap.PAGESIZE) * mmap.PAGESIZE, view.nbytes)
            shares[-1].append(view[:taken])
            view, room = view[taken:], max(0, room - taken)
    return shares


def _write(file: int, view: memoryview) -> None:
    while view.nbytes:
        view = view[os.write(file, view) :]


# ---- maps


def map_file(file: int, offset: int, length: int) -> memoryview:
    """A private map of a stretch of a file: it can be written to, and writing to it changes no file.

    The file itself is not kept open. OSError where that cannot be had.
    """
    if not length:
        return memoryview(bytearray())
    before = offset % mmap.PAGESIZE
    return _map(file, offset - before, before + length)[before:]


def _map(file: int, offset: int, length: int) -> memoryview:
    # mmap.mmap keeps a descriptor of its own for as long as the map lasts, and only from Python 3.13 on can be told not
    # to. So it gives the room, without any file, and the pages of the file are put there.
    room = mmap.mmap(-1, length, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    block = ctypes.c_char.from_buffer(room)
    address = ctypes.addressof(block)
    del block
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_int64]
    protection = mmap.PROT_READ | mmap.PROT_WRITE
    if libc.mmap(address, length, protection, mmap.MAP_PRIVATE | _MAP_FIXED, file, offset) != address:
        code = ctypes.get_errno()
        raise OSError(code, f"cannot map {length} bytes: {os.strerror(code)}")
    return memoryview(room)


def map_path(path: str) -> memoryview:
    """A private map of a whole file, as :func:`map_file` makes it where it can."""
    with open(path, "rb") as file:
        try:
            return map_file(file.fileno(), 0, os.fstat(file.fileno()).st_size)
        except (OSError, AttributeError):
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))
