"""An injected pipeline with a loop, run by KFP's own runners: processes of this machine, and containers."""

import importlib.util
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import unittest
from pathlib import Path

from .validators import skip

AGENT = os.environ.get("KALE_AGENT_BIN")
SQUARES = Path(__file__).with_name("squares.py")
BIN = "/kale/bin"
# The tasks of the loop are told apart by what KFP fills in.
MAP = """
steps:
  square:
    shard: "{{$.inputs.parameters['index']}}/{{$.inputs.parameters['n']}}"
    out: [part]
  total:
    in: ["parts=square[*]:part"]
"""


class KfpLocal(unittest.TestCase):
    def setUp(self):
        self.need(AGENT, "KALE_AGENT_BIN names no binary")
        self.need(importlib.util.find_spec("kfp"), "this Python has no kfp")
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name).resolve()
        self.call([AGENT, "init", "-q", "store"])
        (self.folder / "map.yaml").write_text(MAP)

    def need(self, found, reason):
        if not found:
            skip(self.id(), reason)
            self.skipTest(reason)

    def call(self, words, status=0):
        # The components' interpreter is found by its name.
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        ended = subprocess.run(
            [str(word) for word in words],
            cwd=self.folder,
            env={**os.environ, "PATH": path},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
        )
        self.assertEqual(ended.returncode, status, ended.stdout)
        return ended.stdout

    def injected(self, image, store, run="first"):
        self.call([sys.executable, SQUARES, "compile", "pipeline.yaml", image])
        flags = ["--image", "kale-agent:any", "--no-engine", "--map", "map.yaml", "--store", store, "--run", run]
        self.call([AGENT, "inject", "pipeline.yaml", "-o", "injected.yaml", *flags])
        return self.folder / "injected.yaml"

    def run_pipeline(self, manifest, how, **settings):
        said = self.call([sys.executable, SQUARES, "run", manifest, how, json.dumps(settings)])
        result = [line for line in said.splitlines() if line.startswith("result ")]
        self.assertEqual(len(result), 1, said)
        seen = json.loads(result[0].removeprefix("result "))
        self.assertEqual((seen["values"], seen["lines"]), ([0, 1, 4], 30))
        self.assertEqual(seen["parts"], [f"part {index} of 3\n" for index in range(3)])
        rows = json.loads(self.call([AGENT, "ls", "squares/first", "--store", "store", "--json"]))
        self.assertEqual({row["state"] for row in rows}, {"committed"})
        shown = json.loads(self.call([AGENT, "show", "squares/first/total", "--store", "store", "--json"]))
        self.assertEqual([one["expected"] for one in shown["inputs"]], [3])
        # KFP's collected values were in the command; all of it is recorded as the agent got it.
        self.assertIn("--executor_input", shown["command"])
        return seen

    def for_processes(self, run):
        manifest = self.injected("kale-test-kfp:none", self.folder / "store", run)
        text = manifest.read_text()
        self.assertEqual(text.count(f"- {BIN}/kale-agent\n"), 3)
        # There is no init container to put it there.
        manifest.write_text(text.replace(f"- {BIN}/kale-agent\n", f"- {AGENT}\n"))
        return manifest

    def test_processes(self):
        self.run_pipeline(self.for_processes("first"), "subprocess", use_venv=False)

    def test_each_execution_is_a_run(self):
        run = [sys.executable, SQUARES, "run", self.for_processes("{{$.pipeline_job_uuid}}"), "subprocess"]
        for _ in range(2):
            self.assertIn("\nresult ", self.call([*run, json.dumps({"use_venv": False})]))
        runs = json.loads(self.call([AGENT, "runs", "--store", "store", "--json"]))
        self.assertEqual([run["shards"] for run in runs], [5, 5], runs)

    def test_a_fixed_run_is_for_one_execution(self):
        run = [sys.executable, SQUARES, "run", self.for_processes("first"), "subprocess", '{"use_venv": false}']
        self.call(run)
        said = self.call(run, status=1)
        # The paths of KFP's are others, and the difference is in what is shown of the commands.
        self.assertRegex(said, r"command: committed `…[^`]*/outputs/squares-[^`]*`, now `…[^`]*/outputs/squares-")
        self.assertIn("use a new --run", said)

    def test_containers(self):
        self.need(importlib.util.find_spec("docker"), "this Python has no docker")
        engine = shutil.which("docker") and subprocess.run(["docker", "version"], capture_output=True).returncode == 0
        self.need(engine, "no Docker engine answers")
        image = f"kale-test-kfp:{os.getpid()}"
        mounts = self.machine(image)
        (self.folder / "bin").mkdir()
        self.call([AGENT, "install", "bin"])
        mounts += [(self.folder / "bin", BIN, True), (self.folder / "store", "/kale/store", False)]
        seen = self.run_pipeline(
            self.injected(image, "/kale/store"),
            "docker",
            network_mode="none",
            read_only=True,
            tmpfs={"/tmp": "mode=1777"},
            user=f"{os.getuid()}:{os.getgid()}",
            cap_drop=["ALL"],
            mounts=[(str(source), at, only) for source, at, only in mounts],
        )
        self.assertEqual(seen["first"], f"{BIN}/kale-agent", "the agent is PID 1 of the container")

    def machine(self, image):
        """Makes an image of nothing but the places where this machine's own system and Python are mounted."""
        venv, base = Path(sys.prefix), Path(sys.base_prefix)
        made = io.BytesIO()
        with tarfile.open(fileobj=made, mode="w") as archive:
            for name in ("bin", "lib", "lib64", "sbin"):
                link = tarfile.TarInfo(name)
                link.type, link.linkname = tarfile.SYMTYPE, f"usr/{name}"
                archive.addfile(link)
            for name in ("usr", "tmp", "etc", "proc", "dev"):
                folder = tarfile.TarInfo(name)
                folder.type, folder.mode = tarfile.DIRTYPE, 0o755
                archive.addfile(folder)
        path = f"ENV PATH={venv}/bin:/usr/local/bin:/usr/bin"
        words = ["docker", "import", "--change", path, "-", image]
        subprocess.run(words, input=made.getvalue(), capture_output=True, check=True)
        self.addCleanup(subprocess.run, ["docker", "rmi", "-f", image], capture_output=True)
        # What must be seen is the folder itself, whatever leads to it.
        needed = {Path("/usr"), venv, base, Path(os.path.realpath(sys.executable)).parents[1]}
        outside = [place for place in needed if Path("/usr") not in place.parents]
        return [(str(place), str(place), True) for place in outside]


if __name__ == "__main__":
    unittest.main()
