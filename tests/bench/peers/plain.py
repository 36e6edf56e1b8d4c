"""`cp`, and `cp` followed by `b3sum`: what copying costs, and copying with a digest."""

from ..measure import Command
from .base import Peer


def copy(source, target):
    """The command that copies a file or folder into a folder."""
    return Command(["cp", "-r", str(source), str(target)])


class Cp(Peer):
    name = "cp"
    needs = ("cp",)
    keeps_versions = False

    def version(self):
        return self.ask("cp", "--version")

    def save(self, source, tag):
        (self.store / tag).mkdir()
        return copy(source, self.store / tag)

    def restore(self, source, tag, target):
        return copy(self.store / tag / source.name, target)


class CpB3sum(Cp):
    name = "cp then b3sum"
    needs = ("cp", "b3sum", "sh")
    script = (
        'cp -r "$1" "$2" && cd "$2" && '
        'if [ -d "$3" ]; then find "$3" -type f -print0 | xargs -0 b3sum; else b3sum "$3"; fi > /dev/null'
    )

    def version(self):
        return self.ask("b3sum", "--version")

    def save(self, source, tag):
        (self.store / tag).mkdir()
        return self._both(source, self.store / tag)

    def restore(self, source, tag, target):
        return self._both(self.store / tag / source.name, target)

    def _both(self, source, target):
        return Command(["sh", "-c", self.script, "sh", str(source), str(target), source.name])
