"""restic and borg: deduplicating backup programs, without encryption where that can be switched off."""

from ..measure import Command
from .base import Peer


class Restic(Peer):
    name = "restic"
    needs = ("restic",)

    def version(self):
        return self.ask("restic", "version")

    def begin(self, place):
        super().begin(place)
        self.env = {
            "RESTIC_REPOSITORY": str(self.store),
            "RESTIC_PASSWORD": "bench",
            "RESTIC_CACHE_DIR": str(place / "cache"),
        }
        self.setting.meter.run(Command(["restic", "init", "--quiet"], self.env))

    def save(self, source, tag):
        argv = ["restic", "backup", "--quiet", "--tag", tag, source.name]
        return Command(argv, self.env, str(source.parent))

    def restore(self, source, tag, target):
        return Command(["restic", "restore", "--quiet", "--tag", tag, "--target", str(target), "latest"], self.env)


class Borg(Peer):
    name = "borg"
    needs = ("borg",)

    def version(self):
        return self.ask("borg", "--version")

    def begin(self, place):
        super().begin(place)
        self.env = {
            "BORG_BASE_DIR": str(place / "base"),
            "BORG_REPO": str(self.store),
            "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes",
        }
        self.setting.meter.run(Command(["borg", "init", "--encryption", "none"], self.env))

    def save(self, source, tag):
        return Command(["borg", "create", f"::{tag}", source.name], self.env, str(source.parent))

    def restore(self, source, tag, target):
        return Command(["borg", "extract", f"::{tag}"], self.env, str(target))
