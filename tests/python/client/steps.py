"""Steps under the real program, if KALE_AGENT_BIN names it."""

import os
import subprocess
import sys
import tempfile
import textwrap
import unittest
from unittest import mock

BINARY = os.environ.get("KALE_AGENT_BIN")


@unittest.skipUnless(BINARY, "KALE_AGENT_BIN does not name the program")
class EndToEnd(unittest.TestCase):
    """The real program: steps that save and load, and saving and loading outside of one."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.store = os.path.join(folder.name, "store")
        kept = {key: value for key, value in os.environ.items() if not key.startswith("KALE_")}
        self.environment = {**kept, "KALE_STORE": self.store, "KALE_PIPELINE": "p", "KALE_RUN": "r"}
        self.agent("init", self.store)

    def agent(self, *words, check=True):
        done = subprocess.run([BINARY, *words], env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if check:
            self.assertEqual(done.returncode, 0, done.stderr.decode())
        return done

    def step(self, name, code, *words):
        return self.agent(
            "run", "--step", name, *words, "--", sys.executable, "-c", textwrap.dedent(code)
        ).stdout.decode()

    def fails_with(self, status, name, code, *words, environment=()):
        with mock.patch.dict(self.environment, dict(environment)):
            done = self.agent("run", "--step", name, *words, "--", sys.executable, "-c", textwrap.dedent(code), check=False)
        told = done.stderr.decode()
        self.assertEqual(done.returncode, status, told)
        self.assertNotEqual(self.agent("ls", f"{name}:", check=False).returncode, 0, "something was committed")
        return told
