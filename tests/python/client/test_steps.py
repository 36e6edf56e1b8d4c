"""From step to step under the real program, and outside of one."""

import os
import pathlib
import unittest
from unittest import mock

from .stand_in import Raw, kale_agent, np
from .steps import BINARY, EndToEnd


class FromStepToStep(EndToEnd):
    """What one step saves, another loads."""

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

    def test_what_the_kernel_does_not_seal_is_stored_before_save_returns(self):
        code = """
            import kale_agent, mmap, os
            from kale_agent import client, memory
            client._TRIES = 0
            made, maps = memory._memory_file, []
            def in_use():
                file = made()
                os.truncate(file, mmap.PAGESIZE)
                maps.append(mmap.mmap(file, mmap.PAGESIZE))
                return file
            if IN_USE:
                memory._memory_file = in_use
            saved = kale_agent.save("out", b"0123456789" * 900_000)
            print("waits" if saved._digest else "taken", saved.digest())
        """
        waits, digest = self.step("a", code.replace("IN_USE", "True")).split()
        taken, same = self.step("b", code.replace("IN_USE", "False")).split()
        self.assertEqual((waits, taken, digest), ("waits", "taken", same))

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
