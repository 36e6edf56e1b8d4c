"""Metaflow's content-addressed store, through its own classes, on a local folder."""

import importlib.util
import sys

from ..measure import HERE, Command
from .base import Peer


class Metaflow(Peer):
    name = "metaflow"

    def absent(self):
        return None if importlib.util.find_spec("metaflow") else "the Python package metaflow is not installed"

    def version(self):
        from importlib import metadata

        return f"metaflow {metadata.version('metaflow')}"

    def _script(self, *words):
        return Command([sys.executable, HERE / "steps" / "metaflow_store.py", *words])

    def save(self, source, tag):
        return self._script("save", self.store, source, self.place / f"{tag}.json")

    def restore(self, source, tag, target):
        return self._script("load", self.store, target, self.place / f"{tag}.json")
