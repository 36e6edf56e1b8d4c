"""The least work: read, hash, write, and nothing else: a yardstick of the machine, which can be beaten."""

from ..measure import Command
from .base import Peer


class Least(Peer):
    name = "least"
    options = ()
    keeps_versions = False
    saves_again = True

    @property
    def program(self):
        return self.setting.agent.with_name("least")

    def absent(self):
        return None if self.program.exists() else "it was not built: make bench does"

    def save(self, source, tag):
        if tag == "again":
            return Command([self.program, "again", source, self.store / "v1"])
        return Command([self.program, "save", *self.options, source, self.store / tag])

    def restore(self, source, tag, target):
        return Command([self.program, "load", self.store / tag, target / source.name])


class LeastCompressed(Least):
    name = "least compressed"
    options = ("--zstd",)
    saves_again = False


class LeastUnsynced(Least):
    name = "least unsynced"
    options = ("--no-sync",)
    saves_again = False


class WriteAlone(Least):
    """As many bytes from memory, and nothing but writing them: no save is faster."""

    name = "write alone"
    saves_again = False
    restores = 0

    def save(self, source, tag):
        return Command([self.program, "write", source, self.store / tag])


class WriteAloneUnsynced(WriteAlone):
    name = "write alone unsynced"

    def save(self, source, tag):
        return Command([self.program, "write", "--no-sync", source, self.store / tag])
