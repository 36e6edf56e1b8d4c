"""What goes wrong, and that the message says what, where and what to do."""

import os
import pickle
import sys
import threading
import types
from unittest import mock

from .stand_in import InStep, Node, Slotted, kale_agent


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
