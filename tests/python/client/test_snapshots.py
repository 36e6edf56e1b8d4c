"""Saving from a snapshot: nothing is copied, and nobody notices the process that has it."""

import os
import unittest

from .stand_in import np
from .steps import EndToEnd

BIG = """
import kale_agent, os, pickle, signal, subprocess
from kale_agent import client, memory, snapshot
class Big:
    def __init__(self, content): self.content = content
    def __reduce_ex__(self, protocol):
        return bytearray, (pickle.PickleBuffer(self.content),)
def refuse(*_): raise AssertionError("copied")
content = bytearray(b"first" * 10_000_000)
"""
# Whatever is copied fails.
NO_COPY = BIG + "memory._write = refuse\n"
LOADED = """
import kale_agent
print(kale_agent.load("a:big") == bytearray(b"first" * 10_000_000))
"""


class Snapshots(EndToEnd):
    """What is saved is what was there when it was, whatever the step does next."""

    def saves(self, code):
        told = self.step("a", code)
        self.assertEqual(self.step("b", LOADED), "True\n")
        return told

    def test_what_changes_later_does_not_count(self):
        code = """
saved = kale_agent.save("big", Big(content))
taken = saved._digest is None
content[:] = bytes(len(content))
print(taken, len(str(saved)))
"""
        self.assertEqual(self.saves(NO_COPY + code), "True 64\n")

    def test_a_step_may_end_at_once(self):
        for end in ["", "os._exit(0)", "os.execvp('true', ['true'])"]:
            with self.subTest(end=end):
                self.environment["KALE_RUN"] = f"r-{len(end)}"
                self.saves(f"{NO_COPY}kale_agent.save('big', Big(content))\n{end}\n")

    def test_its_process_ends_with_the_save_and_nobody_hears_of_it(self):
        code = """
told = []
signal.signal(signal.SIGCHLD, lambda *_: told.append("child"))
reading, writing = os.pipe()
saved = kale_agent.save("big", Big(content))
pid = snapshot._children[-1]
os.close(writing)
print(os.read(reading, 1), os.getpgid(pid) == pid)
try:
    os.wait()
except ChildProcessError:
    print("no children")
saved.digest()
kale_agent.save("again", Big(content)).digest()
snapshot._reap(pid)
print(pid in snapshot._children, told)
print(snapshot._children[-1])
"""
        *told, last = self.saves(NO_COPY + code).splitlines()
        self.assertEqual(told, ["b'' True", "no children", "False []"])
        with self.assertRaises(ProcessLookupError):
            os.kill(int(last), 0)

    def test_what_is_a_files_memory_is_copied(self):
        code = """
import mmap, tempfile
with tempfile.TemporaryFile() as file:
    file.write(content)
    file.flush()
    mapped = mmap.mmap(file.fileno(), len(content), access=mmap.ACCESS_COPY)
    for number in range(5):
        kale_agent.save("big", Big(mapped))
print(client._Step._unreadable)
"""
        self.assertEqual(self.saves(BIG + code), "3\n")

    def test_without_a_process_for_it_it_is_copied(self):
        code = """
def no_process(): raise OSError("no more processes")
snapshot._fork = no_process
write, written = memory._write, []
memory._write = lambda file, view: written.append(view.nbytes) or write(file, view)
kale_agent.save("big", Big(content))
print(sum(written) >= len(content))
"""
        self.assertEqual(self.saves(BIG + code), "True\n")

    def test_a_process_of_somebody_else_is_not_read(self):
        code = """
class Other:
    def __init__(self): self.pid = os.getppid()
    def __enter__(self): return self
    def __exit__(self, *_): pass
    def keep(self): raise AssertionError("the agent took itself")
client.Snapshot = Other
kale_agent.save("big", Big(content))
print(client._Step._unreadable)
"""
        self.assertEqual(self.saves(BIG + code), "1\n")

    def test_one_that_is_gone_before_it_is_stored_fails_the_step(self):
        code = """
for _ in range(8):
    kale_agent.save("big", Big(content))
kale_agent.save("next", Big(content))
os.kill(snapshot._children[-1], signal.SIGKILL)
"""
        told = self.fails_with(195, "a", NO_COPY + code)
        self.assertIn("cannot save next", told)

    def test_a_step_that_is_told_to_end_while_they_are_stored_gives_them_up(self):
        code = """
for _ in range(8):
    kale_agent.save("big", Big(content))
with open(PLACE, "w") as place:
    print(*snapshot._children, file=place)
subprocess.Popen(["sh", "-c", f"sleep 0.02; kill -TERM {os.getppid()}"], start_new_session=True)
os._exit(0)
"""
        place = self.store + ".children"
        self.fails_with(143, "a", f"PLACE = {place!r}\n{NO_COPY}{code}")
        with open(place) as children:
            for child in children.read().split():
                with self.assertRaises(ProcessLookupError):
                    os.kill(int(child), 0)

    def test_small_values_in_a_large_process_are_copied(self):
        code = """
before = len(snapshot._children)
kept = bytearray(os.urandom(1 << 20)) * 200
kale_agent.save("big", Big(content[:5_000_000] + content[:5_000_000]))
print(len(snapshot._children) - before)
"""
        self.assertEqual(self.step("a", BIG + code), "0\n")

    @unittest.skipUnless(np, "numpy is not installed")
    def test_arrays_of_every_order(self):
        code = """
import numpy as np
array = np.arange(6_000_000, dtype=np.float32).reshape(2000, 3000)
kale_agent.save("rows", array)
kale_agent.save("columns", np.asfortranarray(array))
kale_agent.save("every_other", array[:, ::2])
kale_agent.save("still", np.broadcast_to(array, (2, 2000, 3000)))
array[:] = 0
"""
        self.step("a", NO_COPY.replace("content = ", "content = b''  # ") + code)
        told = self.step(
            "b",
            """
            import kale_agent, numpy as np
            array = np.arange(6_000_000, dtype=np.float32).reshape(2000, 3000)
            for name, value in [("rows", array), ("columns", array), ("every_other", array[:, ::2]),
                                ("still", np.broadcast_to(array, (2, 2000, 3000)))]:
                print(name, np.array_equal(kale_agent.load("a:" + name), value))
        """,
        )
        self.assertEqual(told, "rows True\ncolumns True\nevery_other True\nstill True\n")
