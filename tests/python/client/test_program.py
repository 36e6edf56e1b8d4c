"""Outside of a step: the program is run."""

import os
import pathlib
import tempfile
import unittest
from unittest import mock

from .stand_in import kale_agent


class Program(unittest.TestCase):
    """Outside of a step, with a program that answers what the test says."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.program = self.folder / "program"
        variables = mock.patch.dict(os.environ, {"KALE_AGENT": str(self.program)})
        variables.start()
        self.addCleanup(variables.stop)
        os.environ.pop("KALE_SOCKET", None)

    def answers(self, text, status=0):
        self.program.write_text(f"#!/bin/sh\ncat <<'END'\n{text}\nEND\nexit {status}\n")
        self.program.chmod(0o755)

    def fails(self):
        return self.assertRaises(kale_agent.KaleError)

    def test_failures(self):
        with self.fails() as caught:
            kale_agent.save("x", 1)
        self.assertEqual(caught.exception.code, 195)
        self.assertIn("KALE_AGENT", str(caught.exception))
        self.answers(
            '{"error": {"code": 191, "kind": "store", "message": "no store", "remedy": "kale-agent init"}}', 191
        )
        with self.fails() as caught:
            kale_agent.load("x")
        self.assertEqual((caught.exception.code, str(caught.exception)), (191, "no store; kale-agent init"))
        self.answers("nonsense", 3)
        with self.fails() as caught:
            kale_agent.load("x")
        self.assertIn("ended with 3", str(caught.exception))
        with self.fails() as caught:
            kale_agent.fan_out("train", 2)
        self.assertEqual(caught.exception.code, 190)
