"""Golden manifests and the examples of the documentation: what comes out is what the engines take."""

import copy
import os
import re
import subprocess
import tempfile
import unittest
from pathlib import Path

from .validators import ROOT, VALIDATORS, Skipped, skip

try:
    import yaml
except ImportError:
    yaml = None

AGENT = os.environ.get("KALE_AGENT_BIN")
GOLDEN = ROOT / "tests" / "golden" / "inject"
PAGES = ROOT / "docs" / "engines"
BIN = "/kale/bin/kale-agent"


def commands(node):
    """Every command below a node, with where it is."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key in ("command", "entrypoint") and isinstance(value, list):
                yield value
            yield from commands(value)
    elif isinstance(node, list):
        for value in node:
            yield from commands(value)


def read(text):
    return [document for document in yaml.safe_load_all(text) if document is not None]


class Manifests(unittest.TestCase):
    def setUp(self):
        if yaml is None:
            skip(self.id(), "this Python has no yaml")
            self.skipTest("this Python has no yaml")

    def validate(self, engine, documents):
        try:
            VALIDATORS[engine](documents)
        except Skipped as reason:
            skip(f"{self.id()}[{engine}]", reason)
            self.skipTest(str(reason))

    def golden(self, engine):
        outputs = sorted((GOLDEN / engine).glob("*.out.*"))
        self.assertGreaterEqual(len(outputs), 2)
        for path in outputs:
            with self.subTest(path.name):
                # bytes: line ends count
                documents = read(path.read_bytes().decode())
                self.validate(engine, documents)
                before = read(Path(str(path).replace(".out.", ".in.")).read_bytes().decode())
                after = [command for document in documents for command in commands(document)]
                injected = [command[command.index("--") + 1 :] for command in after if command[:2] == [BIN, "run"]]
                self.assertTrue(injected)
                # Another parser than ours: each command is there as it was, with or without the agent.
                for command in (command for document in before for command in commands(document) if command):
                    self.assertIn(command, injected + after)

    def example(self, engine):
        """The first YAML of a page is injected with the first command line of the page."""
        if not AGENT:
            skip(self.id(), "KALE_AGENT_BIN names no binary")
            self.skipTest("KALE_AGENT_BIN names no binary")
        page = (PAGES / f"{engine}.md").read_text()
        blocks = dict(re.findall(r"^`([\w.-]+)`:\n\n```yaml\n(.*?)^```$", page, re.M | re.S))
        line = re.search(r"^kale-agent inject ((?:.*\\\n)*.*)$", page, re.M).group(1).replace("\\\n", " ")
        with tempfile.TemporaryDirectory() as folder:
            for name, text in blocks.items():
                Path(folder, name).write_text(text)
            words = [AGENT, "inject", *line.split(), "--no-engine"]
            told = subprocess.run(words, cwd=folder, capture_output=True, text=True)
            self.assertEqual(told.returncode, 0, told.stderr)
            output = words[words.index("-o") + 1]
            text = Path(folder, output).read_text()
            self.validate(engine, read(text))
            self.assertIn(BIN, text)
            back = subprocess.run([AGENT, "inject", "--remove", output], cwd=folder, capture_output=True, text=True)
            self.assertEqual(back.stdout, blocks[words[2]])
        # What the page shows of the result is in it.
        for shown in re.findall(r"^```yaml result\n(.*?)^```$", page, re.M | re.S):
            for wanted in shown.splitlines():
                self.assertIn(wanted.strip(), text)

    def refuses(self, engine, change):
        """A validator that takes everything would prove nothing."""
        path = sorted((GOLDEN / engine).glob("*.out.yaml"))[0]
        documents = copy.deepcopy(read(path.read_bytes().decode()))
        self.validate(engine, documents)
        change(documents)
        with self.assertRaises(Exception) as raised:
            VALIDATORS[engine](documents)
        self.assertNotIsInstance(raised.exception, (Skipped, KeyError, TypeError))

    def test_argo(self):
        self.golden("argo")

    def test_argo_example(self):
        self.example("argo")

    def test_argo_refuses(self):
        def change(documents):
            documents[0]["spec"]["templates"][0]["intContainers"] = []

        self.refuses("argo", change)

    def test_compose(self):
        self.golden("compose")

    def test_compose_example(self):
        self.example("compose")

    def test_compose_refuses(self):
        def change(documents):
            documents[0]["services"]["train"]["depends_on"]["nobody"] = {"condition": "service_started"}

        self.refuses("compose", change)

    def test_kfp(self):
        self.golden("kfp")

    def test_kfp_example(self):
        self.example("kfp")

    def test_kfp_refuses(self):
        def change(documents):
            documents[0]["deploymentSpec"]["executors"]["exec-train"]["container"]["commands"] = []
            documents[0]["rooot"] = {}

        self.refuses("kfp", change)

    def test_kubernetes(self):
        self.golden("kubernetes")

    def test_kubernetes_example(self):
        self.example("kubernetes")

    def test_kubernetes_refuses(self):
        def change(documents):
            documents[0]["spec"]["jobTemplate"]["spec"]["template"]["spec"]["initContainer"] = []

        self.refuses("kubernetes", change)

    def test_tekton(self):
        self.golden("tekton")

    def test_tekton_example(self):
        self.example("tekton")

    def test_tekton_refuses(self):
        def change(documents):
            documents[0]["spec"]["stepsTemplate"] = {}

        self.refuses("tekton", change)


if __name__ == "__main__":
    unittest.main()
