"""What is loaded is mapped from the store: under the real program."""

import hashlib
import os
import pathlib
import sys
import textwrap
import unittest
from unittest import mock

from .stand_in import np, pa, pd
from .steps import EndToEnd


class Maps(EndToEnd):
    """Maps of the store: what is shared, what is kept apart, and what is found out."""

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

    @unittest.skipIf(np is None, "no numpy")
    def test_a_checkpoint_is_mapped(self):
        place = os.path.join(self.store, "..", "checkpoint.safetensors")
        self.step(
            "a",
            """
            import kale_agent, json, numpy as np
            text = json.dumps({"w": {"dtype": "F32", "shape": [1000, 100], "data_offsets": [0, 400_000]}}).encode()
            text += b" " * (-len(text) % 8)
            with open(kale_agent.outputs()["file"], "wb") as file:
                file.write(len(text).to_bytes(8, "little") + text + np.arange(100_000, dtype="<f4").tobytes())
        """,
            "--out",
            "file=" + place,
        )
        before = self.stored_digest()
        told = self.step(
            "b",
            textwrap.dedent(self.MAPPED)
            + textwrap.dedent(
                """
            [(name, array)] = kale_agent.load("a:file").items()
            print(name, array.shape, array.dtype, maps(), descriptors(), array[999, 99], array.flags.aligned)
            array[:] = 0
            print(array.sum(), kale_agent.load("a:file")["w"][999, 99])
        """
            ),
        )
        self.assertEqual(told, "w (1000, 100) float32 1 0 99999.0 True\n0.0 99999.0\n")
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
