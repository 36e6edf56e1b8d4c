"""The two ways to the agent: the socket of a step, and the program outside of one."""

from __future__ import annotations

import array
import atexit
import itertools
import json
import os
import shutil
import socket
import subprocess
import tempfile
import threading
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Union

from .errors import IO, USAGE, KaleError, is_utf8
from .memory import Parts, map_file
from .snapshot import Snapshot

_FRAME_BYTES = 1 << 20
_DESCRIPTORS = 64
# So many snapshots that cannot be read are enough.
_TRIES = 3


class Saved:
    """What became of a save. ``digest()`` and ``str()`` wait until it is stored, and tell its digest.

    Nobody has to ask: the step waits for what is stored, and fails where that fails.
    """

    def __init__(self, name: str, digest: "Optional[str]", agent: "Optional[_Step]" = None, ticket: int = 0) -> None:
        self.name = name
        self._digest = digest
        self._agent = agent
        self._ticket = ticket

    def digest(self) -> str:
        """The digest of what is stored. Only within the step that saved it, and only as long as that runs."""
        if self._digest is None:
            assert self._agent, "without a digest there is an agent to ask"
            self._digest = self._agent.ask({"op": "stored", "ticket": self._ticket})["saved"]["digest"]
        return self._digest

    def __str__(self) -> str:
        return self.digest()

    def __repr__(self) -> str:
        return f"<Saved {self.name}: {self._digest or 'being stored'}>"


class Loaded(NamedTuple):
    """What the agent restored: a path, or files by name as maps."""

    path: str
    shape: str
    format: Optional[str]
    files: Optional[Dict[str, memoryview]] = None


class Conversation:
    """A connection to the agent of this step."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._stream.connect(path)
        except OSError as error:
            self._stream.close()
            raise self._gone(error) from error

    def __enter__(self) -> Conversation:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._stream.close()

    def ask(self, asked: Dict[str, Any], files: "List[int] | None" = None, came: "List[int] | None" = None) -> Any:
        """Asks, and returns the answer; descriptors that come with it are added to ``came``, else closed."""
        body = json.dumps({"v": 1, **asked}).encode("ascii")
        if len(body) > _FRAME_BYTES:
            raise KaleError(USAGE, f"a request of {len(body)} bytes is over the limit of 1 MiB: use shorter names")
        frame = len(body).to_bytes(4, "little") + body
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", files))] if files else []
        try:
            # Descriptors go with the first byte. Sending nothing after the last one would be an error if the
            # other side had already answered and closed.
            sent = self._stream.sendmsg([frame], rights)
            if sent < len(frame):
                self._stream.sendall(frame[sent:])
            length = int.from_bytes(self._receive(4, came), "little")
            if length > _FRAME_BYTES:
                raise OSError(f"an answer of {length} bytes is over the limit of 1 MiB")
            reply = json.loads(self._receive(length, came).decode("utf-8"))
        except (OSError, ValueError) as error:
            raise self._gone(error) from error
        if isinstance(reply, dict) and "failed" in reply:
            raise KaleError(reply["failed"]["code"], reply["failed"]["message"])
        return reply

    def _receive(self, length: int, came: "List[int] | None") -> bytes:
        received = bytearray()
        files = array.array("i")
        while len(received) < length:
            room = socket.CMSG_LEN(_DESCRIPTORS * files.itemsize)
            some, rights, _, _ = self._stream.recvmsg(length - len(received), room, socket.MSG_CMSG_CLOEXEC)
            for level, kind, content in rights:
                if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                    files.frombytes(content[: len(content) - len(content) % files.itemsize])
            if not some:
                raise OSError("it closed the connection")
            received += some
        if came is None:
            for file in files:
                os.close(file)
        else:
            came.extend(files)
        return bytes(received)

    def _gone(self, error: Exception) -> KaleError:
        return KaleError(
            IO,
            f"the agent of this step does not answer on {self.path}: {error}; the step that set "
            "KALE_SOCKET has ended: unset it to work on a store directly",
        )


class _Step:
    """The agent of this step, on its socket; a connection for each request, so that threads and forks may ask, too."""

    folder = None
    # How many snapshots in a row the agent could not read: some containers forbid it.
    _unreadable = 0

    def __init__(self, path: str) -> None:
        self.path = path

    def save(self, name: str, format: str, parts: Parts) -> Saved:
        asked = {"op": "save", "name": name, "format": format, "value": True, "from": {"parts": list(parts.files)}}
        asked["hand_over"] = True
        reply = self._save_from_snapshot(asked, parts)
        if reply is None:
            files = parts.numbers()
            stripes = [len(one) for one in files.values()]
            if max(stripes) > 1:
                asked["stripes"] = stripes
            sent = [number for one in files.values() for number in one]
            # What was offered counts for the connection on which it was asked for.
            reply = (parts.conversation or self).ask(asked, sent)
        return self._saved(name, reply)

    def _save_from_snapshot(self, asked: Dict[str, Any], parts: Parts) -> Any:
        """What the agent answers that reads a snapshot; None where it is to get a copy."""
        stretches = parts.stretches() if self._unreadable < _TRIES else None
        if stretches is None:
            return None
        try:
            snapshot = Snapshot()
        except (AttributeError, OSError):
            return None  # Such as a limit on processes.
        with snapshot:
            told = {"pid": snapshot.pid, "parts": stretches}
            reply = (parts.conversation or self).ask({**asked, "snapshot": told})
            if reply == "unreadable":
                _Step._unreadable += 1
                return None
            _Step._unreadable = 0
            snapshot.keep()
            return reply

    def save_path(self, name: str, path: str) -> Saved:
        return self._saved(name, self.ask({"op": "save", "name": name, "from": {"path": path}}))

    def _saved(self, name: str, reply: Dict[str, Any]) -> Saved:
        if "taken" in reply:
            return Saved(name, None, self, reply["taken"]["ticket"])
        return Saved(name, reply["saved"]["digest"])

    def load(self, reference: str, path: Optional[str], map: bool = False) -> Loaded:
        asked = {"op": "load", "reference": reference}
        if path is not None:
            asked["path"] = path
        if map:
            asked["map"] = True
        came: List[int] = []
        try:
            reply = self.ask(asked, came=came)
            if "mapped" in reply:
                told = reply["mapped"]
                try:
                    files = [map_file(file, one["offset"], one["bytes"]) for one, file in zip(told["files"], came)]
                except (OSError, AttributeError):
                    return self.load(reference, path)  # Such as a limit on address space: a copy does without.
                maps = {one["name"]: file for one, file in zip(told["files"], files)}
                return Loaded("", told["shape"], told.get("format"), maps)
        finally:
            for file in came:
                os.close(file)
        loaded = reply["loaded"]
        return Loaded(loaded["path"], loaded["shape"], loaded.get("format"))

    def fan_out(self, step: str, count: int) -> None:
        self.ask({"op": "fan-out", "step": step, "count": count})

    def converse(self) -> Conversation:
        return Conversation(self.path)

    def ask(self, asked: Dict[str, Any], files: "List[int] | None" = None, came: "List[int] | None" = None) -> Any:
        with self.converse() as conversation:
            return conversation.ask(asked, files, came)


class _Program:
    """The program ``kale-agent``, outside of a step. What it restores lies in a folder until this process ends."""

    _lock = threading.Lock()
    _folders: Dict[int, str] = {}
    _numbers: Iterator[int] = itertools.count()

    @property
    def folder(self) -> str:
        # A forked child has a folder of its own, so that neither takes away the other's.
        with self._lock:
            if os.getpid() not in self._folders:
                self._folders[os.getpid()] = tempfile.mkdtemp(prefix="kale-")
                atexit.register(self._remove)
            return self._folders[os.getpid()]

    @classmethod
    def _remove(cls) -> None:
        shutil.rmtree(cls._folders.pop(os.getpid(), ""), ignore_errors=True)

    def save(self, name: str, format: str, parts: Parts) -> Saved:
        for file in parts.files.values():
            file.close()
        assert parts.folder, "parts for the program are made in a folder"
        path = os.path.join(parts.folder, "value") if "" in parts.files else parts.folder
        return Saved(name, self._run("save", name, path, "--format", format, "--value")["digest"])

    def save_path(self, name: str, path: str) -> Saved:
        return Saved(name, self._run("save", name, path)["digest"])

    def load(self, reference: str, path: Optional[str], map: bool = False) -> Loaded:
        place = path or os.path.join(self.folder, f"loaded-{next(self._numbers)}")
        loaded = self._run("load", reference, place)
        return Loaded(loaded["path"], loaded["shape"], loaded.get("format"))

    def fan_out(self, step: str, count: int) -> None:
        raise KaleError(
            USAGE, f"cannot set the shards of {step} to {count}: only a step can; run this under 'kale-agent run'"
        )

    def _run(self, *words: str) -> Any:
        program = os.environ.get("KALE_AGENT") or "kale-agent"
        try:
            done = subprocess.run([program, "--json", *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        except OSError as error:
            raise KaleError(
                IO,
                f"cannot run {program}: {error}; outside of a step the program is needed: put it on "
                "PATH or its path into KALE_AGENT",
            ) from error
        try:
            told = json.loads(done.stdout.decode("utf-8"))
        except ValueError as error:
            raise KaleError(
                IO,
                f"'{program} {words[0]}' ended with {done.returncode} and without an answer: see what "
                "it wrote to stderr",
            ) from error
        if "error" in told:
            failure = told["error"]
            remedy = f"; {failure['remedy']}" if failure.get("remedy") else ""
            raise KaleError(failure["code"], f"{failure['message']}{remedy}")
        return told


def agent() -> "Union[_Step, _Program]":
    """Whoever answers here."""
    path = os.environ.get("KALE_SOCKET")
    return _Step(path) if path else _Program()


def absolute(path: "os.PathLike[str] | str") -> str:
    """A path as the agent needs it."""
    text = os.path.abspath(os.fspath(path))
    if not is_utf8(text):
        raise KaleError(USAGE, f"the path {text!r} is not UTF-8: use the folder above it, or rename it")
    return text
