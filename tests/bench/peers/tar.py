"""`tar | zstd -1 -T0`: one compressed stream."""

from ..measure import Command
from .base import Peer


class TarZstd(Peer):
    name = "tar zstd -1"
    needs = ("tar", "zstd", "sh")
    keeps_versions = False

    def version(self):
        return self.ask("zstd", "--version").strip("* ")

    def save(self, source, tag):
        script = 'tar -cf - -C "$1" "$2" | zstd -q -1 -T0 -o "$3"'
        return Command(["sh", "-c", script, "sh", str(source.parent), source.name, str(self.store / tag)])

    def restore(self, source, tag, target):
        script = 'zstd -q -d -c "$1" | tar -xf - -C "$2"'
        return Command(["sh", "-c", script, "sh", str(self.store / tag), str(target)])
