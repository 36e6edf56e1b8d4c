"""NumPy arrays and tensors."""

import math
import unittest

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
