"""An injected compose file, brought up by docker-compose itself."""

import json
import os
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

from .validators import ROOT, skip

AGENT = os.environ.get("KALE_AGENT_BIN")
SERVICES = """\
# docker-compose 1.29 knows no name of a file.
version: "3.9"
services:
  prepare:
    image: {image}
    entrypoint: [sh, -c]
    command: ['seq 1 $$TEN > "$$KALE_OUT_TABLE"']
    environment: {{TEN: "10"}}
    network_mode: none
    tmpfs: [/tmp]   # the image has none
    labels: {{kale.dev/out: table}}
  train:   # waits for what `prepare` commits
    image: {image}
    entrypoint: [sh, -c, 'wc -l < "$$KALE_IN_TABLE" > "$$KALE_OUT_MODEL"']
    network_mode: none
    read_only: true
    labels:
      kale.dev/in: prepare:table
      kale.dev/out: model
      kale.dev/wait: 1m
"""


class ComposeUp(unittest.TestCase):
    def setUp(self):
        self.need(AGENT, "KALE_AGENT_BIN names no binary")
        self.need(shutil.which("docker-compose"), "docker-compose is not installed")
        engine = shutil.which("docker") and subprocess.run(["docker", "version"], capture_output=True).returncode == 0
        self.need(engine, "no Docker engine answers")
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name).resolve()
        self.project = f"kale-test-{os.getpid()}"
        self.image = f"{self.project}:debug"
        self.agents = f"{self.project}:scratch"
        self.call(ROOT / "images" / "debug" / "image.sh", self.image, AGENT)
        self.addCleanup(subprocess.run, ["docker", "rmi", "-f", self.image, self.agents], capture_output=True)
        context = self.folder / "context"
        context.mkdir()
        shutil.copy(AGENT, context / "kale-agent")
        self.call("docker", "build", "-q", "-t", self.agents, "-f", ROOT / "images" / "scratch" / "Dockerfile", context)
        self.call(AGENT, "init", "-q", "store")
        (self.folder / "compose.yaml").write_text(SERVICES.format(image=self.image))

    def need(self, found, reason):
        if not found:
            skip(self.id(), reason)
            self.skipTest(reason)

    def call(self, *words, run="first"):
        ended = subprocess.run(
            [str(word) for word in words],
            cwd=self.folder,
            env={**os.environ, "KALE_RUN": run},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
        )
        self.assertEqual(ended.returncode, 0, ended.stdout)
        return ended.stdout

    def compose(self, *words, run="first"):
        return self.call("docker-compose", "-p", self.project, "-f", "injected.yaml", *words, run=run)

    def states(self, run):
        rows = json.loads(self.call(AGENT, "ls", f"flights/{run}", "--store", "store", "--json"))
        return {row["step"]: row["state"] for row in rows}

    def test_up_runs_each_step_once_a_run(self):
        store = ["--pipeline", "flights", "--store-host", self.folder / "store"]
        self.call(AGENT, "inject", "compose.yaml", "-o", "injected.yaml", "--image", self.agents, *store)
        self.addCleanup(self.compose, "down", "--volumes", "--timeout", "5")
        self.compose("up", "--no-color")
        self.assertEqual(self.states("first"), {"prepare": "committed", "train": "committed"})
        self.assertEqual(self.call(AGENT, "cat", "flights/first/train:model", "--store", "store"), "10\n")
        again = self.compose("up", "--no-color")
        self.assertEqual(again.count("committed already"), 2, again)
        # Another run is made of new containers, of the same file.
        self.compose("up", "--no-color", "--force-recreate", run="second")
        self.assertEqual(self.states("second"), {"prepare": "committed", "train": "committed"})
        self.call(AGENT, "inject", "--remove", "injected.yaml", "-o", "removed.yaml")
        self.assertEqual((self.folder / "removed.yaml").read_text(), SERVICES.format(image=self.image))


if __name__ == "__main__":
    unittest.main()
