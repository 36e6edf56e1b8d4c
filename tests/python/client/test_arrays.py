"""NumPy arrays and tensors."""

import json
import math
import sys
import types
import unittest
from unittest import mock

from .stand_in import InStep, Node, kale_agent, np, torch


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


@unittest.skipIf(np is None, "no numpy")
class Checkpoints(InStep):
    """Files in the safetensors format that another program wrote."""

    def checkpoint(self, tensors, tail=b""):
        header, data = {"__metadata__": {"format": "pt"}}, b""
        for key, (word, shape, content) in tensors.items():
            header[key] = {"dtype": word, "shape": shape, "data_offsets": [len(data), len(data) + len(content)]}
            data += content
        text = json.dumps(header).encode()
        place = self.folder / "checkpoint"
        place.write_bytes(len(text).to_bytes(8, "little") + text + data + tail)
        self.agent.kept["x"] = {"path": str(place), "shape": "file", "format": "safetensors"}
        return place

    def test_a_checkpoint_becomes_arrays_that_can_be_written_to(self):
        weights, flags = np.arange(60_000, dtype="<f4").reshape(200, 300), np.array([True, False])
        place = self.checkpoint(
            {
                "flags": ("BOOL", [2], flags.tobytes()),
                "weights": ("F32", [200, 300], weights.tobytes()),
                "step": ("I64", [], (7).to_bytes(8, "little")),
                "half": ("F16", [1, 2], np.float16([1, -2]).tobytes()),
                "none": ("U8", [0, 3], b""),
            }
        )
        before = place.read_bytes()
        back = kale_agent.load("x")
        self.assertEqual(list(back), ["flags", "weights", "step", "half", "none"])
        self.assertEqual([one.dtype.name for one in back.values()], ["bool", "float32", "int64", "float16", "uint8"])
        self.assertEqual([one.shape for one in back.values()], [(2,), (200, 300), (), (1, 2), (0, 3)])
        self.assertTrue((back["weights"] == weights).all())
        self.assertEqual((back["flags"].tolist(), back["step"], back["half"].tolist()), ([True, False], 7, [[1, -2]]))
        back["weights"][:] = -1
        back["step"][()] = 8
        self.assertEqual((back["weights"].max(), back["step"]), (-1, 8))
        self.assertEqual(place.read_bytes(), before)

    def test_types_that_numpy_lacks(self):
        self.checkpoint({"a": ("F32", [1], bytes(4)), "b": ("BF16", [2], b"\x80\x3f\0\xc0")})
        with mock.patch.dict(sys.modules, {"ml_dtypes": None}):
            with self.fails(190, "cannot load x", "its tensor b, which is BF16", "pip install ml_dtypes", "load_path"):
                kale_agent.load("x")
        library = types.SimpleNamespace(bfloat16=np.uint16)
        with mock.patch.dict(sys.modules, {"ml_dtypes": library}):
            self.assertEqual(kale_agent.load("x")["b"].tolist(), [0x3F80, 0xC000])
            self.checkpoint({"c": ("F4", [2], b"\0")})
            with self.fails(190, "its tensor c, which is F4; take the file itself with load_path"):
                kale_agent.load("x")

    def test_headers_that_claim_what_is_not_there(self):
        self.checkpoint({"a": ("F32", [2], bytes(4))})
        with self.fails(193, "its tensor a has 4 bytes", "load_path"):
            kale_agent.load("x")
        place = self.checkpoint({"a": ("F32", [1], bytes(4))})
        whole = place.read_bytes()
        other = whole.replace(b'"shape"', b'"shade"')
        for damaged in (whole[:-1], b"\xff" * 8 + whole[8:], whole[:20], b"", other, b"\2" + bytes(7) + b"[]"):
            place.write_bytes(damaged)
            with self.fails(193, "cannot load x", "safetensors"):
                kale_agent.load("x")


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
