"""A stand-in for the agent of a step, and the objects and libraries that tests need."""

import array
import contextlib
import hashlib
import importlib
import itertools
import json
import os
import pathlib
import pickle
import shutil
import signal
import socket
import sys
import tempfile
import threading
import unittest
from unittest import mock

SOURCE = pathlib.Path(__file__).resolve().parents[3] / "agent" / "src" / "python"
sys.path.insert(0, str(SOURCE))

import kale_agent  # noqa: E402


def library(name):
    """A module, or None where it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


np, pd, pa, pl, torch = map(library, ("numpy", "pandas", "pyarrow", "polars", "torch"))


class StandIn:
    """Speaks the agent's frames on a socket and keeps artifacts in a folder."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.path = str(self.folder / "agent.sock")
        self.kept = {}
        self.asked = []
        self.reply = None
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen()
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.listener.close()

    def serve(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            with client:
                self.converse(client)

    def converse(self, client):
        files = array.array("i")
        data, control, _, _ = client.recvmsg(4, socket.CMSG_LEN(64 * files.itemsize))
        for level, kind, content in control:
            assert (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS)
            files.frombytes(content[: len(content) - len(content) % files.itemsize])
        stream = client.makefile("rb")
        data += stream.read(4 - len(data))
        asked = json.loads(stream.read(int.from_bytes(data, "little")).decode("utf-8"))
        self.asked.append(asked)
        reply = self.reply if self.reply is not None else getattr(self, asked["op"].replace("-", "_"))(asked, files)
        for file in files:
            os.close(file)
        if isinstance(reply, bytes):
            client.sendall(reply)
            return
        body = json.dumps(reply).encode("utf-8")
        client.sendall(len(body).to_bytes(4, "little") + body)

    def save(self, asked, files):
        place = self.folder / str(len(self.asked))
        hashed = hashlib.sha256()
        if "path" in asked["from"]:
            source = pathlib.Path(asked["from"]["path"])
            assert source.is_absolute()
            (shutil.copytree if source.is_dir() else shutil.copy)(str(source), str(place))
            shape = "tree" if source.is_dir() else "file"
        else:
            names = asked["from"]["parts"]
            contents = self.snapshot(asked["snapshot"]) if "snapshot" in asked else self.contents(asked, files)
            assert len(contents) == len(names)
            for name, content in zip(names, contents):
                target = place / name if name else place
                target.parent.mkdir(exist_ok=True)
                hashed.update(content)
                target.write_bytes(content)
            shape = "value" if asked["value"] else "file"
        self.kept[asked["name"]] = {"path": str(place), "shape": shape, "format": asked.get("format")}
        return {"saved": {"digest": hashed.hexdigest(), "raw_bytes": 1, "stored_bytes": 1}}

    def contents(self, asked, files):
        stripes = asked.get("stripes", [1] * len(asked["from"]["parts"]))
        assert sum(stripes) == len(files)
        left = iter(files)
        for file in files:
            assert os.lseek(file, 0, os.SEEK_CUR) == 0, "not rewound"
        read = (os.pread(file, os.fstat(file).st_size, 0) for file in left)
        return [b"".join(itertools.islice(read, count)) for count in stripes]

    def snapshot(self, told):
        with open(f"/proc/{told['pid']}/mem", "rb", buffering=0) as memory:
            read = [[os.pread(memory.fileno(), *stretch[::-1]) for stretch in part] for part in told["parts"]]
        os.kill(told["pid"], signal.SIGKILL)
        return [b"".join(part) for part in read]

    def load(self, asked, _):
        kept = self.kept.get(asked["reference"])
        if kept is None:
            return {"failed": {"code": 192, "message": f"no {asked['reference']} here"}}
        if "path" in asked:
            shutil.copy(kept["path"], asked["path"])
            return {"loaded": {**kept, "path": asked["path"]}}
        return {"loaded": kept}

    def fan_out(self, *_):
        return "done"


class InStep(unittest.TestCase):
    """A test with a stand-in for the agent of its step."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.agent = StandIn(folder.name)
        self.addCleanup(self.agent.close)
        variables = mock.patch.dict(os.environ, {"KALE_SOCKET": self.agent.path, "KALE_DIR": folder.name})
        variables.start()
        self.addCleanup(variables.stop)

    def digest(self, name="x"):
        """What the stored bytes of an artifact hash to now."""
        path = pathlib.Path(self.agent.kept[name]["path"])
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()

    def there_and_back(self, obj, format):
        kale_agent.save("x", obj)
        self.assertEqual(self.agent.kept["x"]["format"], format)
        self.assertEqual(self.agent.kept["x"]["shape"], "value")
        back = kale_agent.load("x")
        self.assertIs(type(back), type(obj))
        return back

    @contextlib.contextmanager
    def fails(self, code, *words):
        with self.assertRaises(kale_agent.KaleError) as caught:
            yield
        self.assertEqual(caught.exception.code, code, caught.exception)
        for word in words:
            self.assertIn(word, str(caught.exception))
        self.assertEqual(caught.exception.message, str(caught.exception))


class Node:
    """An object of a class that can be imported."""

    def __init__(self, **parts):
        self.__dict__.update(parts)


class Slotted:
    __slots__ = ("part",)


class Raw:
    """An object whose buffer goes beside its pickle, without any library."""

    def __init__(self, buffer):
        self.buffer = buffer

    def __reduce_ex__(self, protocol):
        return Raw, (pickle.PickleBuffer(self.buffer),)
