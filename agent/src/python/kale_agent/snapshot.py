"""Snapshots: the memory of this process as it is now, for the agent to read while the process goes on."""

from __future__ import annotations

import ctypes
import os
import signal
import threading
from typing import Any, List

# What the child shares with us: closing a file, or leaving a folder, does not have to wait for its end.
_CLONE_FS, _CLONE_FILES = 0x200, 0x400
# Waits for a child that tells nobody of its end, as a number with a sign.
_WCLONE = -0x80000000
_STACK = 64 << 10
# The child ends by itself after so many seconds: should the agent be killed, nobody else ends it.
_LONGEST = 4 * 3600


class Snapshot:
    """A child that does nothing but sleep, so that its memory stays what ours is now.

    Nothing is copied: the kernel lets both have the same pages, until one of them writes to one. The child is none to
    whoever waits for children: it tells nobody of its end, hears no signal, and is in a group of its own. OSError where
    the system has none to give.
    """

    def __init__(self) -> None:
        self._kept = False
        _reap()
        self.pid = _fork()
        with _lock:
            _children.append(self.pid)
        try:
            os.setpgid(self.pid, self.pid)
        except OSError:
            pass  # A group's signals reach it then, of which only SIGKILL does anything.

    def keep(self) -> None:
        """Leaves it to the agent, which ends it."""
        self._kept = True

    def __enter__(self) -> Snapshot:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._kept:
            try:
                os.kill(self.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            _reap(self.pid)


class _Buffer(ctypes.Structure):
    """``Py_buffer``, of which only the address is looked at."""

    _fields_ = [("address", ctypes.c_void_p), ("rest", ctypes.c_void_p * 15)]


def address(view: memoryview) -> int:
    """Where the bytes of a contiguous buffer are."""
    buffer = _Buffer()
    api = ctypes.pythonapi
    if api.PyObject_GetBuffer(ctypes.py_object(view), ctypes.byref(buffer), 0):
        raise BufferError("this buffer has no address")
    try:
        return buffer.address or 0
    finally:
        api.PyBuffer_Release(ctypes.byref(buffer))


def own_bytes() -> int:
    """How much memory this process has that is no file's: what a fork costs goes by that."""
    with open("/proc/self/statm", "rb") as statm:
        _, resident, shared = (int(pages) for pages in statm.read().split()[:3])
    return (resident - shared) * os.sysconf("SC_PAGE_SIZE")


_lock = threading.Lock()
# Children that may not have been waited for yet.
_children: List[int] = []


def _reap(only: int = 0) -> None:
    """Waits for children that have ended; for this one until it has."""
    with _lock:
        for pid in [only] if only else list(_children):
            try:
                ended, _ = os.waitpid(pid, _WCLONE | (0 if only else os.WNOHANG))
            except ChildProcessError:
                ended = pid  # Somebody else's: we are a fork of whoever made it.
            if ended and pid in _children:
                _children.remove(pid)


def _libc() -> Any:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.clone.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p]
    return libc


def _fork() -> int:
    # Not os.fork: that runs what libraries do at a fork, and the child would go on in Python, with the locks of threads
    # that it does not have. This child runs one function of the C library, on a stack of its own.
    libc = _libc()
    stack = ctypes.create_string_buffer(_STACK)
    top = (ctypes.addressof(stack) + _STACK) & ~15
    sleep = ctypes.cast(libc.sleep, ctypes.c_void_p)
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        pid = int(libc.clone(sleep, top, _CLONE_FS | _CLONE_FILES, _LONGEST))
        code = ctypes.get_errno()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    if pid < 0:
        raise OSError(code, f"cannot fork: {os.strerror(code)}")
    return pid
