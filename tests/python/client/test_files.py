"""What was stored as a file or folder, fan-in, and what is asked of the agent besides."""

import ast
import json
import os
import pickle
import subprocess
import sys
import unittest
from unittest import mock

from .stand_in import SOURCE, InStep, kale_agent, np, pa, pd


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
        needs = {"csv": "pandas", "npy": "numpy", "parquet": "pandas", "arrow": "pandas", "safetensors": "numpy"}
        for format, module in needs.items():
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
