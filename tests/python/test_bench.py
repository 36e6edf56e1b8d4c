"""The benchmark harness: what it measures, and that its workloads are the same each time."""

import hashlib
import importlib.util
import json
import os
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import aims  # noqa: E402
from bench.measure import Command, Failed, Meter  # noqa: E402
from bench.place import Place, tree_bytes  # noqa: E402

AGENT = os.environ.get("KALE_AGENT_BIN")
LIBRARIES = {"a": ["numpy"], "b": ["numpy", "pyarrow"], "c": ["numpy"], "d": ["numpy"], "e": ["numpy", "sklearn"]}


def skip(reason):
    """Skips aloud: the reason is counted with those of the Rust tests."""
    path = os.environ.get("KALE_TEST_SKIPS")
    if path:
        with open(path, "a") as skips:
            skips.write(f"SKIPPED test_bench: {reason}\n")
    return unittest.SkipTest(reason)


class Choice(unittest.TestCase):
    def test_a_report_replaces_none(self):
        from bench import __main__ as program

        with tempfile.TemporaryDirectory() as folder:
            names = []
            for _ in range(3):
                names.append(program.unused(Path(folder), "day"))
                (Path(folder) / f"{names[-1]}.md").touch()
        self.assertEqual(names, ["day", "day-2", "day-3"])

    def test_a_name_or_a_beginning(self):
        from bench.__main__ import named

        names = ["cp", "cp then b3sum", "kale-agent", "kale-agent raw"]
        self.assertEqual(named(names, []), set(names))
        self.assertEqual(named(names, ["cp"]), {"cp"})
        self.assertEqual(named(names, ["kale", "cp t"]), {"kale-agent", "kale-agent raw", "cp then b3sum"})
        self.assertEqual(named(names, ["none"]), set())


class Measuring(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.place = Place(folder.name)
        self.meter = Meter(self.place)
        self.addCleanup(self.meter.close)

    def test_memory_is_that_of_the_command_and_not_of_the_harness(self):
        ballast = bytearray(200 << 20)
        self.assertLess(self.meter.run(Command(["true"]))["rss"], 64 << 20)
        del ballast
        hungry = Command([sys.executable, "-I", "-S", "-c", "bytearray(b'x' * (100 << 20))"])
        self.assertGreater(self.meter.run(Command(["sh", "-c", '"$@"; true', "sh", *hungry.argv]))["rss"], 100 << 20)

    def test_a_failure_says_why(self):
        with self.assertRaisesRegex(Failed, "code 3: broken"):
            self.meter.run(Command(["sh", "-c", "echo broken >&2; exit 3"]))
        with self.assertRaisesRegex(Failed, "code 127"):
            self.meter.run(Command(["no-such-program"]))

    def test_what_takes_too_long_is_ended_with_its_children(self):
        with self.assertRaisesRegex(Failed, "ended after"):
            self.meter.run(Command(["sh", "-c", "sleep 60 & echo $! > child; wait"]), timeout=0.5)
        child = int((self.place.root / "child").read_text())
        # Gone, or not yet collected by whoever inherited it.
        status = Path(f"/proc/{child}/stat")
        self.assertTrue(not status.exists() or status.read_text().split()[2] == "Z")
        self.meter.run(Command(["true"]))

    def test_closing_ends_the_command(self):
        import threading

        ended = []

        def run():
            try:
                self.meter.run(Command(["sh", "-c", "echo $$ > child; exec sleep 60"]))
            except (Failed, ValueError) as error:
                ended.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        child = self.place.root / "child"
        while not child.exists() or not child.read_text().strip():
            thread.join(0.01)
        self.meter._spawner.terminate()
        thread.join(10)
        self.assertEqual(len(ended), 1)
        self.assertFalse(Path(f"/proc/{child.read_text().strip()}").exists())

    def test_clock_and_report_take_the_place_of_the_end(self):
        clock = self.place.root / "clock"
        script = 'date +%s.%N > "$1"; sleep 0.4'
        cost = self.meter.timed(Command(["sh", "-c", script, "sh", clock], clock=clock), 1)
        self.assertLess(cost["seconds"], 0.4)
        self.assertGreater(cost["wall"], 0.4)
        path = self.place.root / "report"
        cost = self.meter.timed(Command(["sh", "-c", 'echo \'{"seconds": 7}\' > "$1"', "sh", path], report=path), 1)
        self.assertEqual(cost["seconds"], 7)
        self.assertGreater(cost["synced"], 7)

    def test_trash_of_many_files_stays_until_the_end(self):
        for name, count in (("few", 3), ("many", 1200)):
            folder = self.place.fresh(name)
            for number in range(count):
                (folder / str(number)).touch()
            self.place.discard(folder)
            self.assertFalse(folder.exists())
        self.assertEqual(len(list(self.place.trash.iterdir())), 1)
        self.assertTrue(self.place.empty(), "many files were deleted")
        self.assertFalse(any(self.place.trash.iterdir()))
        self.assertFalse(self.place.empty())

    def test_bytes_of_a_tree_count_links_once(self):
        folder = self.place.fresh("tree")
        (folder / "below").mkdir()
        (folder / "below" / "one").write_bytes(b"12345")
        os.link(folder / "below" / "one", folder / "other")
        self.assertEqual(tree_bytes(folder), 5)


class Workloads(unittest.TestCase):
    scale = 0.0005

    def make(self, name):
        missing = [library for library in LIBRARIES[name] if importlib.util.find_spec(library) is None]
        if missing:
            raise skip(f"workload {name} needs {', '.join(missing)}")
        from bench import workloads

        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        return lambda seed, where: workloads.make(name, Path(folder.name, where), seed, self.scale)

    def digests(self, workload):
        found = {}
        for version, path in {"1": workload.source, **workload.versions}.items():
            files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
            for file in files:
                found[version, file.relative_to(path.parent)] = hashlib.sha256(file.read_bytes()).hexdigest()
        return found

    def check(self, name):
        make = self.make(name)
        first = self.digests(make(1, "first"))
        self.assertEqual(first, self.digests(make(1, "second")))
        self.assertNotEqual(first, self.digests(make(2, "third")))
        return make(1, "first"), first

    def test_a(self):
        workload, _ = self.check("a")
        import numpy

        self.assertEqual(numpy.load(workload.source).dtype, numpy.float32)

    def test_b(self):
        workload, _ = self.check("b")
        text = {v: (p / "trades.csv").read_text().splitlines() for v, p in self.versions(workload).items()}
        changed = sum(one != other for one, other in zip(text["1"], text["2"]))
        self.assertEqual(len(text["2"]), len(text["1"]) + (len(text["1"]) - 1) // 50)
        self.assertTrue(0 < changed < len(text["1"]))

    def test_c(self):
        _, digests = self.check("c")
        names = {name for version, name in digests if version == "1"}
        changed = [name for name in names if digests["1", name] != digests["2", name]]
        self.assertEqual(len(changed), -(-len(names) // 50))
        self.assertEqual(names, {name for version, name in digests if version == "2"})

    def test_d(self):
        workload, _ = self.check("d")
        tensors = {version: self.checkpoint(path) for version, path in self.versions(workload).items()}
        self.assertEqual(len(tensors["1"]), 153)
        changed = [name for name, content in tensors["1"].items() if tensors["2"][name] != content]
        self.assertEqual(len(changed), 9)
        self.assertEqual(list(tensors["4"])[1:], list(tensors["1"]))
        self.assertTrue(all(tensors["4"][name] == content for name, content in tensors["1"].items()))

    def test_e(self):
        import pickle

        workload, _ = self.check("e")
        self.assertGreaterEqual(pickle.loads(workload.source.read_bytes()).n_estimators, 1)

    @staticmethod
    def versions(workload):
        return {"1": workload.source, **workload.versions}

    @staticmethod
    def checkpoint(path):
        content = path.read_bytes()
        start = 8 + int.from_bytes(content[:8], "little")
        header = json.loads(content[8:start])
        return {name: content[slice(*(start + n for n in one["data_offsets"]))] for name, one in header.items()}


class WholeRun(unittest.TestCase):
    def test_saves_restores_and_reports(self):
        if not AGENT:
            raise skip("KALE_AGENT_BIN names no binary")
        missing = [name for name in ("numpy", "matplotlib") if importlib.util.find_spec(name) is None]
        if missing:
            raise skip(f"a whole run needs {', '.join(missing)}")
        import subprocess

        with tempfile.TemporaryDirectory() as work:
            argv = [sys.executable, "-m", "bench", "--agent", AGENT, "--work", work, "--workloads", "c"]
            argv += ["--peers", "cp,kale", "--rounds", "1", "--scale", "0.002"]
            ended = subprocess.run(
                argv, cwd=Path(__file__).resolve().parents[1], capture_output=True, text=True, timeout=300
            )
            self.assertEqual(ended.returncode, 0, ended.stderr)
            raw = json.loads(next(Path(work).glob("*.json")).read_text())
            self.assertEqual(
                {(s["peer"], s["op"]) for s in raw["samples"] if s["peer"] == aims.AUTO},
                {(aims.AUTO, op) for op in ("save", "restore", "again", "version 2")},
            )
            text = next(Path(work).glob("*.md")).read_text()
            self.assertIn("| kale-agent raw | 1 |", text)
            self.assertNotIn(work, text)


if __name__ == "__main__":
    unittest.main()
