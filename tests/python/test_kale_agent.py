"""Tests of the Python client: against a stand-in for the agent, and against the real one if KALE_AGENT_BIN names it.

Run with: python3 -m unittest discover -s tests/python
Types of libraries that are not installed are skipped, and counted as skipped.
"""

import array
import ast
import collections
import contextlib
import datetime
import hashlib
import importlib
import itertools
import json
import math
import os
import pathlib
import pickle
import shutil
import socket
import subprocess
import sys
import tempfile
import textwrap
import threading
import types
import unittest
from unittest import mock

SOURCE = pathlib.Path(__file__).resolve().parents[2] / "agent" / "src" / "python"
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
            stripes = asked.get("stripes", [1] * len(names))
            assert len(names) == len(stripes) and sum(stripes) == len(files)
            left = iter(files)
            for name, count in zip(names, stripes):
                target = place / name if name else place
                target.parent.mkdir(exist_ok=True)
                content = b""
                for file in itertools.islice(left, count):
                    assert os.lseek(file, 0, os.SEEK_CUR) == 0, "not rewound"
                    content += os.pread(file, os.fstat(file).st_size, 0)
                hashed.update(content)
                target.write_bytes(content)
            shape = "value" if asked["value"] else "file"
        self.kept[asked["name"]] = {"path": str(place), "shape": shape, "format": asked.get("format")}
        return {"saved": {"digest": hashed.hexdigest(), "raw_bytes": 1, "stored_bytes": 1}}

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


class PlainObjects(InStep):
    def test_bytes_and_text(self):
        for obj, format in [(b"", "bytes"), (b"\0\xff", "bytes"), ("", "text"), ("a\r\nb\n\0é😀", "text")]:
            self.assertEqual(self.there_and_back(obj, format), obj)

    def test_json_where_it_gives_back_the_same(self):
        for obj in [None, True, 0, -(2**63) + 1, 1.5, 1e300, [], {}, [1, [2.0, None]], {"b": 1, "a": {"é": ["x"]}}]:
            self.assertEqual(self.there_and_back(obj, "json"), obj)
        self.assertEqual(list(kale_agent.load("x")), ["b", "a"], "the order of keys")
        self.assertEqual(math.copysign(1, self.there_and_back(-0.0, "json")), -1)
        self.assertIs(type(self.there_and_back([1, 1.0, True], "json")[1]), float)

    def test_pickle_where_json_or_text_would_change_it(self):
        shared = [1]
        objects = [
            "\ud83d\ude00",
            {1: 2},
            (1, 2),
            [(1,)],
            {"a": b"x"},
            2**70,
            collections.OrderedDict(a=1),
            {"\ud800": 1},
            math.inf,
            [shared, shared],
            datetime.date(2024, 2, 29),
            {1, 2},
            bytearray(b"x"),
            1j,
        ]
        for obj in objects:
            self.assertEqual(self.there_and_back(obj, "pickle"), obj)
        endless = []
        endless.append(endless)
        back = self.there_and_back(endless, "pickle")
        self.assertIs(back[0], back)
        one, other = self.there_and_back([shared, shared], "pickle")
        self.assertIs(one, other)
        deep = []
        for _ in range(150):
            deep = [deep]
        self.assertEqual(self.there_and_back(deep, "pickle"), deep)

    def test_a_format_that_is_insisted_on(self):
        kale_agent.save("x", "text", format="pickle")
        self.assertEqual(self.agent.kept["x"]["format"], "pickle")
        self.assertEqual(kale_agent.load("x"), "text")
        with self.fails(190, "x as json", "tuple"):
            kale_agent.save("x", (1, 2), format="json")
        with self.fails(190, "no format 'tar'", "npy, arrow"):
            kale_agent.save("x", 1, format="tar")

    def test_buffers_lie_raw_at_pages_and_keep_whether_they_are_writable(self):
        sizes = [4096, 5000, 100, 10000]
        obj = [Raw(bytearray(b"%d" % place * size)) for place, size in enumerate(sizes)] + [Raw(b"r" * 4096)]
        back = self.there_and_back(obj, "pickle+buffers")
        for one, other in zip(obj, back):
            self.assertEqual(bytes(one.buffer), bytes(other.buffer))
        place = pathlib.Path(self.agent.kept["x"]["path"])
        self.assertEqual(sorted(part.name for part in place.iterdir()), ["buffers", "buffers.json", "object.pkl"])
        table = json.loads((place / "buffers.json").read_text())
        self.assertEqual([one["offset"] for one in table], [0, 4096, 12288, 24576])
        self.assertEqual([one["readonly"] for one in table], [False, False, False, True])
        self.assertEqual((place / "buffers").read_bytes()[12288:22288], b"3" * 10000)
        before = self.digest()
        back[0].buffer[0:3] = b"new"
        self.assertEqual(self.digest(), before)
        self.assertTrue(back[-1].buffer.readonly)
        with self.assertRaises(TypeError):
            back[-1].buffer[0] = 1

    def test_without_memory_files(self):
        with mock.patch.object(os, "memfd_create", side_effect=OSError("forbidden"), create=True):
            self.assertEqual(self.there_and_back({"a": 1}, "json"), {"a": 1})
        before = set(os.listdir(str(self.folder)))
        self.assertFalse({name for name in before if name.startswith("tmp")}, "a file was left behind")


class Failures(InStep):
    def test_what_cannot_be_pickled_is_named(self):
        slotted = Slotted()
        slotted.part = threading.Lock()
        cases = [
            ({"steps": [1, (2, Node(callback=lambda: 0))]}, "x['steps'][1][1].callback is a function"),
            (Node(inner=Node(lock=threading.Lock())), "x.inner.lock is a _thread.lock"),
            ([slotted], "x[0].part is a _thread.lock"),
            ((one for one in ()), "x is a generator"),
        ]
        for obj, words in cases:
            with self.fails(194, "cannot save x", words, "__reduce__"):
                kale_agent.save("x", obj)
        self.assertEqual(self.agent.asked, [], "nothing was stored")

    def test_a_class_that_is_not_there_is_named(self):
        module = types.ModuleType("gone_library")
        exec("class Model: pass", module.__dict__)
        module.Model.__module__ = "gone_library"
        sys.modules["gone_library"] = module
        try:
            kale_agent.save("x", module.Model())
        finally:
            del sys.modules["gone_library"]
        with self.fails(190, "cannot load x", "Model of module gone_library", "pip install gone_library"):
            kale_agent.load("x")

    def test_a_class_of_the_script_is_explained(self):
        main = sys.modules["__main__"]
        main.Ours = type("Ours", (), {"__module__": "__main__"})
        try:
            kale_agent.save("x", main.Ours())
        finally:
            del main.Ours
        with self.fails(190, "Ours of module __main__", "module that both steps import"):
            kale_agent.load("x")

    def test_a_missing_library_is_named(self):
        place = self.folder / "npy"
        place.write_bytes(b"")
        cases = [
            ("npy/numpy.ndarray", "numpy"),
            ("arrow/pandas.DataFrame", "pandas"),
            ("arrow/pyarrow.Table", "pyarrow"),
            ("arrow/polars.DataFrame", "polars"),
            ("safetensors/dict", "torch"),
        ]
        for format, module in cases:
            self.agent.kept["x"] = {"path": str(place), "shape": "value", "format": format}
            with mock.patch.dict(sys.modules, {module: None}):
                with self.fails(190, "cannot load x", f"pip install {module}", format.partition("/")[2]):
                    kale_agent.load("x")

    def test_what_the_agent_says_is_passed_on(self):
        with self.fails(192, "no model here"):
            kale_agent.load("model")

    def test_an_agent_that_is_gone_or_breaks_off(self):
        for reply in [b"", b"\x10\0\0\0{", (1 << 30).to_bytes(4, "little"), b"\x01\0\0\0{"]:
            self.agent.reply = reply
            with self.fails(195, "does not answer", self.agent.path):
                kale_agent.load("x")
        with mock.patch.dict(os.environ, {"KALE_SOCKET": str(self.folder / "nothing")}):
            with self.fails(195, "does not answer", "unset it"):
                kale_agent.save("x", 1)

    def test_a_damaged_value(self):
        place = self.folder / "value"
        place.write_bytes(b"{")
        self.agent.kept["x"] = {"path": str(place), "shape": "value", "format": "json"}
        with self.fails(193, "cannot load x", "as json"):
            kale_agent.load("x")
        self.agent.kept["x"]["format"] = "pickle"
        with self.fails(190, "cannot load x", "unpickling", "other versions"):
            kale_agent.load("x")

    def test_the_error_survives_a_process_boundary(self):
        error = pickle.loads(pickle.dumps(kale_agent.KaleError(192, "no")))
        self.assertEqual((error.code, error.message, str(error)), (192, "no", "no"))


class Paths(InStep):
    def test_files_and_folders(self):
        (self.folder / "data").mkdir()
        (self.folder / "data" / "one").write_text("1")
        kale_agent.save_path("data", self.folder / "data")
        self.assertEqual(self.agent.asked[-1]["from"], {"path": str(self.folder / "data")})
        self.assertFalse(self.agent.asked[-1].get("value", False))
        self.assertEqual((kale_agent.load("data") / "one").read_text(), "1")
        kale_agent.save_path("one", os.path.relpath(str(self.folder / "data" / "one")))
        place = kale_agent.load_path("one", self.folder / "there")
        self.assertEqual(place, str(self.folder / "there"))
        self.assertEqual(kale_agent.load_path("one"), self.agent.kept["one"]["path"])
        with self.fails(190, "not UTF-8"):
            kale_agent.save_path("x", "/\udcff")

    def file(self, content, format, name="file"):
        place = self.folder / name
        place.write_bytes(content)
        self.agent.kept["x"] = {"path": str(place), "shape": "file", "format": format}
        return place

    def test_files_become_natural_objects(self):
        self.file(b'{"a": 1}', "json")
        self.assertEqual(kale_agent.load("x"), {"a": 1})
        self.file("é\r\n".encode(), "text")
        self.assertEqual(kale_agent.load("x"), "é\r\n")
        self.file(b'{"a": 1}', None, "a.json")
        self.assertEqual(kale_agent.load("x"), {"a": 1})
        place = self.file(b"\0", None)
        self.assertEqual(kale_agent.load("x"), place)
        self.file(b"\xff", "text")
        with self.fails(193, "cannot load x", "load_path"):
            kale_agent.load("x")

    def test_a_file_without_its_library_is_a_path(self):
        for format, module in [("csv", "pandas"), ("npy", "numpy"), ("parquet", "pandas"), ("arrow", "pandas")]:
            place = self.file(b"", format)
            with mock.patch.dict(sys.modules, {module: None}):
                self.assertEqual(kale_agent.load("x"), place)

    def test_a_file_that_is_a_pickle_is_never_run(self):
        class Bomb:
            def __reduce__(self):
                return os.mkdir, (str(target),)

        target = self.folder / "ran"
        for format in ("pickle", "pickle+buffers", None):
            place = self.file(pickle.dumps(Bomb()), format, "x.pkl")
            self.assertEqual(kale_agent.load("x"), place)
        self.assertFalse(target.exists())

    @unittest.skipIf(pd is None, "no pandas")
    def test_tables_become_data_frames(self):
        self.file(b"a,b\n1,x\n", "csv")
        self.assertEqual(kale_agent.load("x").values.tolist(), [[1, "x"]])
        self.file(b"a\tb\n1\tx\n", "tsv")
        self.assertEqual(kale_agent.load("x").values.tolist(), [[1, "x"]])
        if pa is not None:
            frame = pd.DataFrame({"a": [1, 2], "b": [0.5, 1.5]})
            frame.to_parquet(self.folder / "t")
            self.file((self.folder / "t").read_bytes(), "parquet")
            pd.testing.assert_frame_equal(kale_agent.load("x"), frame)
            frame.to_feather(self.folder / "t", compression="uncompressed")
            self.file((self.folder / "t").read_bytes(), "arrow")
            pd.testing.assert_frame_equal(kale_agent.load("x"), frame)

    @unittest.skipIf(np is None, "no numpy")
    def test_an_npy_file_becomes_an_array(self):
        np.save(str(self.folder / "a.npy"), np.arange(5))
        self.file((self.folder / "a.npy").read_bytes(), "npy")
        self.assertEqual(kale_agent.load("x").tolist(), [0, 1, 2, 3, 4])

    def test_several_producers_are_a_list_in_shard_order(self):
        folder = self.folder / "all"
        folder.mkdir()
        index = []
        for shard in range(11):
            (folder / str(shard)).write_text(json.dumps({"shard": shard}))
            index.append(
                {"shard": shard, "path": str(shard), "attempt": "a", "digest": "d", "shape": "value", "format": "json"}
            )
        index[3].update(shape="file", format=None)
        (folder / "index.json").write_text(json.dumps(index))
        self.agent.kept["all"] = {"path": str(folder), "shape": "fan-in", "format": None}
        expected = [{"shard": shard} for shard in range(11)]
        expected[3] = folder / "3"
        self.assertEqual(kale_agent.load("all"), expected)
        (folder / "7").write_text("{")
        with self.fails(193, "all, shard 7"):
            kale_agent.load("all")

    def test_fan_out_and_variables(self):
        kale_agent.fan_out("train", 5)
        self.assertEqual(self.agent.asked, [{"v": 1, "op": "fan-out", "step": "train", "count": 5}])
        with mock.patch.dict(os.environ, {"KALE_INPUTS": '{"a": "/in/a"}', "KALE_OUTPUTS": ""}):
            self.assertEqual(kale_agent.inputs(), {"a": "/in/a"})
            self.assertEqual(kale_agent.outputs(), {})

    def test_saving_imports_nothing(self):
        script = "import kale_agent, sys; kale_agent.save('x', {'a': (1, 2)}); print(sorted(sys.modules))"
        done = subprocess.run(
            [sys.executable, "-c", script],
            stdout=subprocess.PIPE,
            check=True,
            env={**os.environ, "PYTHONPATH": str(SOURCE)},
        )
        loaded = ast.literal_eval(done.stdout.decode())
        self.assertFalse({"numpy", "pandas", "pyarrow", "polars", "torch"} & set(loaded))


@unittest.skipIf(np is None, "no numpy")
class Arrays(InStep):
    def test_arrays_of_every_kind(self):
        structured = np.array([(1, 2.5, b"ab")], dtype=[("a", "<i4"), ("b", "f8"), ("c", "S2")])
        arrays = [
            np.arange(24.0).reshape(2, 3, 4),
            np.arange(24).reshape(4, 6).T,
            np.arange(10)[::-2],
            np.array(7),
            np.zeros((0, 3)),
            np.arange(3, dtype=">i2"),
            np.array(["é", "abc"]),
            np.array([b"x\0y"]),
            np.array(["2024-01-01"], "M8[ns]"),
            np.array([1 + 2j]),
            np.array([True, False]),
            structured,
            np.float16([math.nan, 1]),
            np.arange(100_000),
            np.ones((100_000, 0)),
            np.asfortranarray(np.arange(60_000).reshape(200, 300)),
            np.empty((), "V70000"),
        ]
        for obj in arrays:
            back = self.there_and_back(obj, "npy/numpy.ndarray")
            self.assertEqual((back.dtype, back.shape, back.tobytes()), (obj.dtype, obj.shape, obj.tobytes()))
            self.assertTrue(back.flags.writeable)

    def test_writing_to_a_loaded_array_changes_no_file(self):
        back = self.there_and_back(np.arange(100_000), "npy/numpy.ndarray")
        before = self.digest()
        back[:] = -1
        self.assertEqual(self.digest(), before)
        self.assertEqual(self.there_and_back(back, "npy/numpy.ndarray").max(), -1)

    def test_scalars_keep_their_type(self):
        for obj in [
            np.float64(0.1),
            np.float32(3),
            np.int8(-1),
            np.bool_(True),
            np.datetime64("2024-01-01"),
            np.complex64(1j),
        ]:
            self.assertEqual(self.there_and_back(obj, "npy/numpy.generic"), obj)
        for obj in [np.bytes_(b"a"), np.str_("")]:
            self.assertEqual(self.there_and_back(obj, "pickle"), obj)

    def test_what_npy_would_change_is_pickled(self):
        objects = np.array([{"a": 1}, None], dtype=object)
        self.assertEqual(self.there_and_back(objects, "pickle").tolist(), objects.tolist())
        masked = np.ma.array([1, 2], mask=[True, False])
        self.assertEqual(self.there_and_back(masked, "pickle").mask.tolist(), [True, False])
        with self.fails(190, "x as npy"):
            kale_agent.save("x", objects, format="npy")

    def test_arrays_in_objects_go_beside_the_pickle(self):
        frozen = np.arange(2000.0)
        frozen.flags.writeable = False
        obj = Node(
            weights=[np.arange(5000.0), np.asfortranarray(np.ones((100, 100)))], frozen=frozen, tiny=np.arange(3)
        )
        back = self.there_and_back(obj, "pickle+buffers")
        for one, other in zip(obj.weights, back.weights):
            self.assertEqual(one.tolist(), other.tolist())
        self.assertTrue(back.weights[1].flags.f_contiguous)
        self.assertEqual(
            [back.weights[0].flags.writeable, back.frozen.flags.writeable, back.tiny.flags.writeable],
            [True, False, True],
        )
        before = self.digest()
        back.weights[0][:] = 0
        self.assertEqual(self.digest(), before)


@unittest.skipIf(pd is None or pa is None, "no pandas with pyarrow")
class Frames(InStep):
    def frame(self):
        return pd.DataFrame(
            {
                "i": [1, 2, 3],
                "f": [0.5, math.nan, 2],
                "b": [True, False, True],
                "s": ["a", "é", ""],
                "t": pd.to_datetime(["2024-01-01", None, "2024-03-01"]),
                "c": pd.Categorical(["x", None, "x"], ["y", "x"], ordered=True),
                "z": pd.to_datetime(["2024-01-01"] * 3).tz_localize("Europe/Berlin"),
                "n": pd.array([1, None, 3], dtype="Int64"),
            }
        )

    def test_frames_keep_types_and_index(self):
        frame = self.frame()
        named = frame.set_index(pd.Index([10, 20, 30], name="id"))
        text = frame.set_index(pd.Index(["a", "b", "c"]))
        multi = frame.set_index([pd.Index([1, 1, 2], name="one"), pd.Index([0.5, 1, 2], name="two")])
        stepped = frame.set_index(pd.RangeIndex(5, 11, 2, name="r"))
        columns = pd.DataFrame(np.arange(6).reshape(2, 3), columns=[10, 20, 30])
        for obj in [frame, named, text, multi, stepped, columns]:
            back = self.there_and_back(obj, "arrow/pandas.DataFrame")
            pd.testing.assert_frame_equal(
                back, obj, check_column_type="exact", check_index_type="exact", check_freq=True
            )

    def test_series(self):
        for obj in [pd.Series([1, 2], name="n"), pd.Series([0.5], index=["a"]), pd.Series(["x"], name="values")]:
            back = self.there_and_back(obj, "arrow/pandas.Series")
            pd.testing.assert_series_equal(back, obj)

    def test_what_arrow_would_change_is_pickled(self):
        frame = self.frame()
        daily = pd.DataFrame({"a": [1, 2]}, index=pd.date_range("2024-01-01", periods=2, freq="D"))
        noted = pd.DataFrame({"a": [1]})
        noted.attrs["unit"] = "m"
        objects = [
            pd.DataFrame({"a": pd.Series([(1, 2), {"x": 1}], dtype=object)}),
            pd.DataFrame({"a": pd.Series(["x", None], dtype=object)}),
            pd.DataFrame({"a": pd.period_range("2024-01", periods=2, freq="M")}),
            pd.DataFrame({"a": [1 + 2j]}),
            daily,
            noted,
            pd.DataFrame({"a": pd.arrays.SparseArray([0, 1])}),
            pd.DataFrame(index=[1, 2]),
            pd.DataFrame([[1, 2]], columns=["a", "a"]),
            pd.DataFrame([[1, 2]], columns=[1, "a"]),
            frame.iloc[:0],
        ]
        for obj in objects:
            back = self.there_and_back(obj, "pickle")
            pd.testing.assert_frame_equal(back, obj)
            self.assertEqual(back.attrs, obj.attrs)
        self.assertEqual(self.there_and_back(pd.Series([1], name=("a", 1)), "pickle").name, ("a", 1))

    def test_writing_to_a_loaded_frame_changes_no_file(self):
        wide = pd.DataFrame(
            {
                "f": np.arange(50_000.0),
                "i": np.arange(50_000),
                "g": np.arange(50_000.0),
                "z": pd.to_datetime(np.arange(50_000)).tz_localize("UTC"),
            }
        )
        back = self.there_and_back(wide, "arrow/pandas.DataFrame")
        before = self.digest()
        for name in ("f", "i", "g"):
            back.loc[0, name] = -1
        back.loc[0, "z"] = pd.Timestamp("2000-01-01", tz="UTC")
        back.iloc[1, 1] = -2
        self.assertEqual(back.loc[0, ["f", "i", "g"]].tolist(), [-1, -1, -1])
        self.assertEqual(self.digest(), before)
        series = self.there_and_back(pd.Series(np.arange(50_000.0)), "arrow/pandas.Series")
        before = self.digest()
        series.iloc[0] = -1
        self.assertEqual(self.digest(), before)

    def test_without_pyarrow(self):
        frame = pd.DataFrame(np.arange(2000.0).reshape(1000, 2))  # No text: pandas 3 keeps that in pyarrow.
        with mock.patch.dict(sys.modules, {"pyarrow": None}):
            kale_agent.save("x", frame)
        self.assertEqual(self.agent.kept["x"]["format"], "pickle+buffers")
        pd.testing.assert_frame_equal(kale_agent.load("x"), frame)


@unittest.skipIf(pa is None, "no pyarrow")
class ArrowTables(InStep):
    def test_tables_and_batches(self):
        table = pa.table({"a": [1, None], "b": [["x"], []], "d": pa.array(["u", "v"]).dictionary_encode()})
        table = table.replace_schema_metadata({"k": "v"})
        back = self.there_and_back(table, "arrow/pyarrow.Table")
        self.assertTrue(back.equals(table, check_metadata=True))
        batch = table.to_batches()[0]
        self.assertTrue(self.there_and_back(batch, "arrow/pyarrow.RecordBatch").equals(batch))
        self.assertEqual(self.there_and_back(table.schema.empty_table(), "arrow/pyarrow.Table").num_rows, 0)

    def test_chunks_with_dictionaries_of_their_own(self):
        chunks = [pa.array([word]).dictionary_encode() for word in ("u", "v")]
        table = pa.table({"d": pa.chunked_array(chunks)})
        self.assertEqual(self.there_and_back(table, "arrow/pyarrow.Table").to_pydict(), {"d": ["u", "v"]})


@unittest.skipIf(pl is None, "no Polars")
class PolarsFrames(InStep):
    def test_frames_and_series(self):
        frame = pl.DataFrame(
            {
                "a": [1, None],
                "s": ["x", "é"],
                "l": [[1.5], []],
                "t": [datetime.datetime(2024, 1, 1), None],
                "c": pl.Series(["x", "y"], dtype=pl.Categorical),
                "e": pl.Series(["x", None], dtype=pl.Enum(["y", "x"])),
            }
        )
        back = self.there_and_back(frame, "arrow/polars.DataFrame")
        self.assertEqual(back.schema, frame.schema)
        self.assertTrue(back.equals(frame))
        series = pl.Series("n", [1.5, None])
        back = self.there_and_back(series, "arrow/polars.Series")
        self.assertEqual(back.name, "n")
        self.assertTrue(back.equals(series))
        self.assertEqual(self.there_and_back(frame.clear(), "arrow/polars.DataFrame").schema, frame.schema)

    def test_writing_to_a_loaded_frame_changes_no_file(self):
        back = self.there_and_back(pl.DataFrame({"a": list(range(1000))}), "arrow/polars.DataFrame")
        before = self.digest()
        back[0, "a"] = -1
        self.assertEqual((back[0, "a"], self.digest()), (-1, before))


@unittest.skipIf(torch is None, "no torch")
class Tensors(InStep):
    def test_tensors_of_every_type(self):
        words = ["float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool"]
        state = {word: torch.tensor([[0, 1], [1, 0]]).to(getattr(torch, word)) for word in reversed(words)}
        state.update(empty=torch.zeros(0, 3), zero=torch.tensor(5), turned=torch.arange(6).reshape(2, 3).T)
        back = self.there_and_back(state, "safetensors/dict")
        self.assertEqual(list(back), list(state))
        for key, tensor in state.items():
            self.assertEqual(back[key].dtype, tensor.dtype)
            self.assertTrue(torch.equal(back[key], tensor), key)
        single = torch.arange(1000.0)
        back = self.there_and_back(single, "safetensors/torch.Tensor")
        before = self.digest()
        back[:] = 0
        self.assertEqual(self.digest(), before)

    def test_what_safetensors_would_change_is_pickled(self):
        one = torch.ones(3)
        back = self.there_and_back({"a": one, "b": one}, "pickle")
        back["a"][0] = 5
        self.assertEqual(back["b"][0], 5)
        self.assertTrue(self.there_and_back(torch.ones(1, requires_grad=True), "pickle").requires_grad)


class Program(unittest.TestCase):
    """Outside of a step, with a program that answers what the test says."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.program = self.folder / "program"
        variables = mock.patch.dict(os.environ, {"KALE_AGENT": str(self.program)})
        variables.start()
        self.addCleanup(variables.stop)
        os.environ.pop("KALE_SOCKET", None)

    def answers(self, text, status=0):
        self.program.write_text(f"#!/bin/sh\ncat <<'END'\n{text}\nEND\nexit {status}\n")
        self.program.chmod(0o755)

    def fails(self):
        return self.assertRaises(kale_agent.KaleError)

    def test_failures(self):
        with self.fails() as caught:
            kale_agent.save("x", 1)
        self.assertEqual(caught.exception.code, 195)
        self.assertIn("KALE_AGENT", str(caught.exception))
        self.answers(
            '{"error": {"code": 191, "kind": "store", "message": "no store", "remedy": "kale-agent init"}}', 191
        )
        with self.fails() as caught:
            kale_agent.load("x")
        self.assertEqual((caught.exception.code, str(caught.exception)), (191, "no store; kale-agent init"))
        self.answers("nonsense", 3)
        with self.fails() as caught:
            kale_agent.load("x")
        self.assertIn("ended with 3", str(caught.exception))
        with self.fails() as caught:
            kale_agent.fan_out("train", 2)
        self.assertEqual(caught.exception.code, 190)


BINARY = os.environ.get("KALE_AGENT_BIN")


@unittest.skipUnless(BINARY, "KALE_AGENT_BIN does not name the program")
class EndToEnd(unittest.TestCase):
    """The real program: steps that save and load, and saving and loading outside of one."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.store = os.path.join(folder.name, "store")
        kept = {key: value for key, value in os.environ.items() if not key.startswith("KALE_")}
        self.environment = {**kept, "KALE_STORE": self.store, "KALE_PIPELINE": "p", "KALE_RUN": "r"}
        self.agent("init", self.store)

    def agent(self, *words, check=True):
        done = subprocess.run([BINARY, *words], env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if check:
            self.assertEqual(done.returncode, 0, done.stderr.decode())
        return done

    def step(self, name, code, *words):
        return self.agent(
            "run", "--step", name, *words, "--", sys.executable, "-c", textwrap.dedent(code)
        ).stdout.decode()

    def test_from_step_to_step(self):
        self.step(
            "a",
            """
            import kale_agent, pickle
            class Big:
                def __reduce_ex__(self, protocol):
                    return bytearray, (pickle.PickleBuffer(b"z" * 100_000),)
            kale_agent.save("config", {"rate": 0.5, "layers": [1, 2]})
            kale_agent.save("note", "é")
            kale_agent.save("thing", (1, {2}))
            kale_agent.save("big", [Big()])
        """,
        )
        told = self.step(
            "b",
            """
            import kale_agent
            print(kale_agent.load("config"), kale_agent.load("a:note"), kale_agent.load("a:thing"))
            print(len(kale_agent.load("a:big")[0]), sorted(kale_agent.inputs()))
            try:
                kale_agent.load("a:nothing")
            except kale_agent.KaleError as error:
                print(error.code)
        """,
            "--in",
            "config=a:config",
        )
        self.assertEqual(told, "{'rate': 0.5, 'layers': [1, 2]} é (1, {2})\n100000 ['config']\n192\n")

    def fails_with(self, status, name, code, *words, environment=()):
        with mock.patch.dict(self.environment, dict(environment)):
            done = self.agent("run", "--step", name, *words, "--", sys.executable, "-c", textwrap.dedent(code), check=False)
        told = done.stderr.decode()
        self.assertEqual(done.returncode, status, told)
        self.assertNotEqual(self.agent("ls", f"{name}:", check=False).returncode, 0, "something was committed")
        return told

    def test_a_save_is_stored_while_the_step_goes_on(self):
        told = self.step(
            "a",
            """
            import kale_agent, re
            content = bytearray(b"first" * 10_000_000)
            class Big:
                def __init__(self, content): self.content = content
                def __reduce_ex__(self, protocol):
                    import pickle
                    return bytearray, (pickle.PickleBuffer(self.content),)
            saved = kale_agent.save("big", Big(content))
            print("waits" if saved._digest else "taken")
            content[:] = bytes(len(content))
            for number in range(20):
                last = kale_agent.save("small", number)
            print(bool(re.fullmatch("[0-9a-f]{64}", str(saved))), repr(last))
            other = kale_agent.save("again", Big(bytearray(b"first" * 10_000_000)))
            print(other.digest() == saved.digest())
        """,
        )
        self.assertEqual(told, "taken\nTrue <Saved small: being stored>\nTrue\n")
        told = self.step(
            "b",
            """
            import kale_agent
            print(kale_agent.load("a:big") == bytearray(b"first" * 10_000_000), kale_agent.load("a:small"))
            kale_agent.save("copy", kale_agent.load("a:big"))
            print(kale_agent.load("a:small"))
        """,
        )
        self.assertEqual(told, "True 19\n19\n")

    def test_without_room_in_memory_it_is_stored_before_save_returns(self):
        code = """
            import kale_agent, pickle
            class Big:
                def __reduce_ex__(self, protocol):
                    return bytearray, (pickle.PickleBuffer(b"0123456789" * 4_000_000),)
            saved = [
                kale_agent.save("out", Big()),
                kale_agent.save("text", "x" * 40_000_000),
                kale_agent.save("list", [(one,) for one in range(4_000_000)]),
                kale_agent.save("little", 1),
            ]
            print(*["waits" if one._digest else "taken" for one in saved])
            print(*[one.digest() for one in saved])
        """
        taken, digests = self.step("a", code).splitlines()
        with mock.patch.dict(self.environment, {"KALE_HAND_OVER": str(9 << 20)}):
            waits, same = self.step("b", code).splitlines()
        with mock.patch.dict(self.environment, {"KALE_HAND_OVER": "0"}):
            nothing, also_same = self.step("c", code).splitlines()
        self.assertEqual(taken, "taken taken taken taken")
        self.assertEqual(waits, "waits waits waits taken")
        self.assertEqual(nothing, "waits waits waits waits")
        self.assertEqual((digests, digests), (same, also_same))

    def test_a_save_that_cannot_be_stored_fails_the_step(self):
        told = self.fails_with(
            195,
            "a",
            """
            import kale_agent, os, shutil
            shutil.rmtree(os.path.join(os.environ["KALE_STORE"].replace("file://", ""), "packs"), ignore_errors=True)
            open(os.path.join(os.environ["KALE_STORE"].replace("file://", ""), "packs"), "w").close()
            kale_agent.save("model", os.urandom(20_000_000))
            print("goes on")
        """,
        )
        self.assertIn("cannot save model", told)
        # The command's own status wins, and the failure is told beside it.
        told = self.fails_with(
            7, "b", "import kale_agent, os; kale_agent.save('model', os.urandom(20_000_000)); raise SystemExit(7)"
        )
        self.assertIn("cannot save model", told)

    def test_what_could_still_change_is_stored_before_the_answer(self):
        told = self.step(
            "a",
            """
            import array, json, os, socket
            def ask(file, **more):
                body = json.dumps({"v": 1, "op": "save", "name": "x", "from": {"parts": [""]}, **more}).encode()
                stream = socket.socket(socket.AF_UNIX)
                stream.connect(os.environ["KALE_SOCKET"])
                rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [file]))]
                stream.sendmsg([len(body).to_bytes(4, "little") + body], rights)
                return sorted(json.loads(stream.recv(1 << 20)[4:]))
            file = os.memfd_create("x", 3)
            os.write(file, b"content")
            print(ask(file, hand_over=True))
            import fcntl
            fcntl.fcntl(file, 1033, 14)
            print(ask(file), ask(file, hand_over=True), ask(file, hand_over=True, stripes=[2]))
        """,
        )
        self.assertEqual(told, "['saved']\n['saved'] ['taken'] ['failed']\n")

    def packs(self):
        """The stored packs, the largest first."""
        return sorted(pathlib.Path(self.store, "packs").rglob("*/*"), key=lambda path: -path.stat().st_size)

    def stored_digest(self):
        return hashlib.sha256(b"".join(path.read_bytes() for path in sorted(self.packs()))).hexdigest()

    def damage(self):
        pack = self.packs()[0]
        pack.chmod(0o644)
        with open(pack, "r+b") as file:
            file.seek(3_000_000)
            byte = file.read(1)
            file.seek(3_000_000)
            file.write(bytes([byte[0] ^ 1]))
        return pack

    # A value with large buffers that needs no library, and a way to see what of the store is mapped or open.
    MAPPED = """
        import kale_agent, os, pickle
        class Big:
            def __init__(self, content): self.content = content
            def __reduce_ex__(self, protocol):
                return list, ((pickle.PickleBuffer(self.content),),)
        def packs():
            return {os.stat(os.path.join(at, one)).st_ino for at, _, names in os.walk(STORE) for one in names}
        def maps():
            with open("/proc/self/maps") as lines:
                return sum(int(line.split()[4]) in packs() for line in lines)
        def descriptors():
            return sum(os.stat(int(name)).st_ino in packs() for name in os.listdir("/proc/self/fd") if is_open(int(name)))
        def is_open(number):
            try:
                return bool(os.fstat(number))
            except OSError:
                return False
        STORE = os.path.join(os.environ["KALE_STORE"].replace("file://", ""), "packs")
    """

    def big(self, *words):
        self.step("a", self.MAPPED + """
        kale_agent.save("big", Big(b"".join(number.to_bytes(4, "big") * 1024 for number in range(2000))))
        """, *words)

    def test_a_value_is_mapped_and_writing_to_it_changes_nothing_stored(self):
        self.big("--compress", "never")
        before = self.stored_digest()
        told = self.step("b", self.MAPPED + """
        [buffer] = kale_agent.load("a:big")
        print(maps() > 0, descriptors(), buffer.readonly, len(buffer), bytes(buffer[4096:4100]))
        """)
        self.assertEqual(told, "True 0 True 8192000 b'\\x00\\x00\\x00\\x01'\n")
        self.step("w", self.MAPPED + """
        kale_agent.save("big", Big(bytearray(os.urandom(8_000_000))))
        """, "--compress", "never")
        before = self.stored_digest()
        told = self.step("c", self.MAPPED + """
        [buffer] = kale_agent.load("w:big")
        kept = bytes(buffer)
        buffer[:] = b"c" * len(buffer)
        [again] = kale_agent.load("w:big")
        print(maps() > 0, bytes(buffer[:3]), bytes(again) == kept)
        """)
        self.assertEqual(told, "True b'ccc' True\n")
        self.assertEqual(self.stored_digest(), before)
        self.assertEqual(self.agent("verify").returncode, 0)

    def test_what_cannot_be_mapped_is_the_same(self):
        code = self.MAPPED + """
        [buffer] = kale_agent.load("a:big")
        import hashlib
        print(maps() > 0, hashlib.sha256(buffer).hexdigest())
        """
        told = []
        for number, compress in enumerate(["never", "zstd"]):
            with mock.patch.dict(self.environment, {"KALE_RUN": f"r{number}"}):
                self.big("--compress", compress, "--dedup", "never")
                told += self.step("b", code).split() + self.step("d", code, "--in", "big=a:big").split()
        self.assertEqual(told[::2], ["True", "True", "False", "False"])
        self.assertEqual(len(set(told[1::2])), 1)

    def test_a_map_outlives_its_pack(self):
        self.big("--compress", "never")
        told = self.agent(
            "run", "--step", "b", "--", sys.executable, "-c", textwrap.dedent(self.MAPPED + """
        import hashlib, pathlib
        [buffer] = kale_agent.load("a:big")
        for pack in pathlib.Path(os.environ["KALE_STORE"].replace("file://", ""), "packs").rglob("*/*"):
            pack.unlink()
        print(hashlib.sha256(buffer).hexdigest())
        """), check=False).stdout.decode()
        expected = b"".join(number.to_bytes(4, "big") * 1024 for number in range(2000))
        self.assertEqual(told.strip(), hashlib.sha256(expected).hexdigest())

    def test_a_damaged_map_stops_the_step_and_commits_nothing(self):
        self.big("--compress", "never")
        pack = self.damage()
        for name, rest in [("b", "import signal\n        signal.pause()"), ("c", "print('done')")]:
            told = self.fails_with(193, name, self.MAPPED + f"""
        kale_agent.load("a:big")
        kale_agent.save("out", 1)
        {rest}
        """)
            for word in ("a:big", "'buffers'", "chunk", pack.name):
                self.assertIn(word, told)

    def test_what_tells_a_program_what_to_do_is_verified_first(self):
        marker = b"a marker in the pickle itself"
        self.step("a", self.MAPPED + f"""
        kale_agent.save("big", [Big(os.urandom(8_000_000)), os.urandom(200_000), {marker}])
        """, "--compress", "never")
        [(pack, at)] = [(path, path.read_bytes().find(marker)) for path in self.packs() if marker in path.read_bytes()]
        pack.chmod(0o644)
        with open(pack, "r+b") as file:
            file.seek(at)
            file.write(b"A")
        told = self.step("b", self.MAPPED + """
        try:
            kale_agent.load("a:big")
        except kale_agent.KaleError as error:
            print(error.code, error)
        """)
        self.assertTrue(told.startswith("193 "), told)
        self.assertIn("chunk", told)

    def test_a_pack_that_is_cut_short_is_refused(self):
        self.big("--compress", "never")
        pack = self.packs()[0]
        pack.chmod(0o644)
        os.truncate(pack, 5_000_000)
        told = self.step("b", self.MAPPED + """
        try:
            kale_agent.load("a:big")
        except kale_agent.KaleError as error:
            print(error.code, error)
        """)
        self.assertTrue(told.startswith("193 "), told)
        self.assertIn(pack.name, told)

    @unittest.skipIf(np is None, "no numpy")
    def test_arrays_are_mapped_whatever_their_order(self):
        self.step(
            "a",
            """
            import kale_agent, numpy as np
            noise = np.random.default_rng(1).standard_normal((300, 500))
            kale_agent.save("c", noise)
            kale_agent.save("f", np.asfortranarray(noise))
            kale_agent.save("strided", noise[:, ::2])
            np.save(kale_agent.outputs()["file"], noise)
        """,
            "--out",
            "file=" + os.path.join(self.store, "..", "file.npy"),
        )
        before = self.stored_digest()
        told = self.step(
            "b",
            textwrap.dedent(self.MAPPED)
            + textwrap.dedent(
                """
            import numpy as np
            noise = np.random.default_rng(1).standard_normal((300, 500))
            for name in ("c", "f", "strided", "file"):
                array = kale_agent.load("a:" + name)
                same = np.array_equal(array, noise[:, ::2] if name == "strided" else noise)
                mapped = maps()
                aligned = array.ctypes.data % 64
                array[:] = 0
                print(name, same, mapped, aligned, array.flags.f_contiguous, array.flags.writeable)
                del array
        """
            ),
        )
        self.assertEqual(
            told,
            "c True 1 0 False True\nf True 1 0 True True\nstrided True 1 0 False True\nfile True 1 0 False True\n",
        )
        self.assertEqual(self.stored_digest(), before)

    @unittest.skipIf(pa is None or pd is None, "no pandas with pyarrow")
    def test_tables_are_mapped(self):
        self.step(
            "a",
            """
            import kale_agent, numpy as np, pandas as pd, pyarrow as pa
            noise = np.random.default_rng(1).standard_normal(100_000)
            kale_agent.save("frame", pd.DataFrame({"x": noise, "y": noise * 2}))
            kale_agent.save("table", pa.table({"x": noise}))
        """,
        )
        before = self.stored_digest()
        told = self.step(
            "b",
            textwrap.dedent(self.MAPPED)
            + textwrap.dedent(
                """
            import numpy as np
            noise = np.random.default_rng(1).standard_normal(100_000)
            frame, table = kale_agent.load("a:frame"), kale_agent.load("a:table")
            print(maps() > 0)
            print((frame["y"] == noise * 2).all(), (table["x"].to_numpy() == noise).all())
            frame.loc[0, "x"] = 5
            print(frame.loc[0, "x"])
        """
            ),
        )
        self.assertEqual(told, "True\nTrue True\n5.0\n")
        self.assertEqual(self.stored_digest(), before)

    @unittest.skipIf(np is None, "no numpy")
    def test_arrays_from_step_to_step(self):
        self.step(
            "a",
            """
            import kale_agent, numpy as np
            kale_agent.save("weights", np.arange(1_000_000.0))
            kale_agent.save("model", {"layers": [np.ones((200, 200)), np.arange(3)]})
        """,
        )
        told = self.step(
            "b",
            """
            import kale_agent
            weights, model = kale_agent.load("a:weights"), kale_agent.load("a:model")
            weights[0] = 5
            print(weights.sum(), model["layers"][0].sum(), model["layers"][1].tolist())
        """,
        )
        self.assertEqual(told, "499999500005.0 40000.0 [0, 1, 2]\n")

    def test_several_producers(self):
        for shard in range(3):
            self.step("train", f"import kale_agent; kale_agent.save('score', {shard} * 1.5)", "--shard", f"{shard}/3")
        told = self.step("best", "import kale_agent; print(kale_agent.load('train[*]:score'))")
        self.assertEqual(told, "[0.0, 1.5, 3.0]\n")

    def test_outside_of_a_step(self):
        with mock.patch.dict(os.environ, {**self.environment, "KALE_AGENT": BINARY}, clear=True):
            kale_agent.save("plain", [1, 2])
            self.assertEqual(kale_agent.load("plain"), [1, 2])
            kale_agent.save("pair", Raw(bytearray(b"x" * 10_000)))
            self.assertEqual(bytes(kale_agent.load("pair").buffer), b"x" * 10_000)
            kale_agent.save_path("source", __file__)
            self.assertEqual(
                pathlib.Path(kale_agent.load_path("source")).read_bytes(), pathlib.Path(__file__).read_bytes()
            )
            with self.assertRaises(kale_agent.KaleError) as caught:
                kale_agent.load("nothing")
            self.assertEqual(caught.exception.code, 192)


if __name__ == "__main__":
    unittest.main()
