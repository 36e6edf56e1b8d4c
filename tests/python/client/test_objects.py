"""Objects of Python itself: what they are stored as, and that they come back."""

import collections
import datetime
import json
import math
import os
import pathlib
from unittest import mock

from .stand_in import InStep, Raw, kale_agent


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
