"""kale-agent itself: by its commands `save` and `load`, and as a step that made its output in place."""

import os
import shutil

from ..measure import Command
from .base import Peer

PIPELINE = "bench"
# Of the file that clones are made in; it takes as much as is written to it.
BYTES = 64 << 30


class KaleAgent(Peer):
    name = "kale-agent"
    options = ()

    def version(self):
        return self.ask(str(self.setting.agent), "--version")

    def absent(self):
        for flag in self.options[::2]:
            if flag not in self.setting.save_help():
                return f"its save has no {flag}"
        return None

    def begin(self, place):
        self.place = place
        self.store = place / "store"
        self.setting.meter.run(Command([self.setting.agent, "init", "--quiet", self.store]))

    def settings(self, run):
        """The variables that say where a command belongs."""
        return {"KALE_STORE": self.store, "KALE_PIPELINE": PIPELINE, "KALE_RUN": run}

    def rebase(self, source, tag):
        self.setting.meter.run(self.save(source, tag))

    def save(self, source, tag):
        # The step's name is the artifact's: the agent compares with what that step committed last.
        return Command([self.setting.agent, "save", "--quiet", *self.options, "data", source], self.settings(tag))

    def restore(self, source, tag, target):
        argv = [self.setting.agent, "load", "--quiet", f"{PIPELINE}/{tag}/data:data", target / source.name]
        return Command(argv, self.settings(tag))


class KaleAgentRaw(KaleAgent):
    name = "kale-agent raw"
    options = ("--compress", "never")


class KaleAgentCompressed(KaleAgent):
    """All is compressed, arrays with their bytes apart: for a slow medium."""

    name = "kale-agent compressed"
    options = ("--compress", "zstd:1")


class KaleAgentUnsynced(KaleAgent):
    """Nothing is made to outlive a crash of the machine: what `cp` does, too."""

    name = "kale-agent unsynced"
    options = ("--sync", "never")
    keeps_versions = False


class KaleAgentRawUnsynced(KaleAgentUnsynced):
    name = "kale-agent raw unsynced"
    options = ("--sync", "never", "--compress", "never")


class KaleAgentStep(KaleAgent):
    """A step whose output was written on the store's own file system, and a step that has it as an input.

    Saving is the whole `run` of a step that renames a copy to where its output is expected. Restoring counts from the
    agent's start until the command of a step that has the input starts.
    """

    name = "kale-agent in a step"
    keeps_versions = False
    # The agent clears its folder when the step has ended.
    deletes = True

    def begin(self, place):
        super().begin(place)
        self.readers = 0

    def prepare(self, source, tag):
        self.copy = self.store.parent / "made"
        self.setting.meter.run(Command(["cp", "-r", source, self.copy]))

    def _run(self, run, step, *words):
        folder = ["--dir", self.store.parent / "agent"]
        return [self.setting.agent, "run", "--quiet", *folder, "--log", "inherit", "--step", step, *words]

    def save(self, source, tag):
        script = 'mv "$1" "$KALE_OUT_DATA"'
        argv = self._run(tag, "data", "--out", "data", "--", "sh", "-c", script, "sh", self.copy)
        return Command(argv, self.settings(tag))

    def _with_input(self, step, tag, *words):
        return self._run(tag, step, "--in", f"data={PIPELINE}/{tag}/data:data", "--", *words)

    def restore(self, source, tag, target):
        clock = self.place / "clock"
        # A step that is committed does not run again.
        self.readers += 1
        argv = self._with_input(f"read{self.readers}", tag, *self.setting.notes_time(clock))
        return Command(argv, self.settings(tag), clock=clock)

    def restored(self, source, tag, target):
        return None

    def compare(self, source, tag):
        script = 'diff -rq "$KALE_IN_DATA" "$1"'
        return Command(self._with_input("compare", tag, "sh", "-c", script, "sh", source), self.settings(tag))


class KaleAgentClones(KaleAgentStep):
    """A step whose input is cloned: store and step lie on a small XFS of their own, in a file that is mounted.

    Only its restores say something: the sync after a save is not that of its file system.
    """

    name = "kale-agent by clones"
    needs = ("mkfs.xfs", "mount", "umount")
    # What takes milliseconds is measured more than once.
    restores = 5

    def absent(self):
        missing = [program for program in self.needs if shutil.which(program) is None]
        if missing or os.geteuid() != 0:
            return f"{missing[0]} is not installed" if missing else "mounting a file needs root"
        return super().absent()

    def begin(self, place):
        self.mounted = None
        image, mount = place / "disk", place / "mounted"
        mount.mkdir()
        with open(image, "wb") as file:
            file.truncate(BYTES)
        self.setting.meter.run(Command(["mkfs.xfs", "-q", "-m", "reflink=1", image]))
        self.setting.meter.run(Command(["mount", "-o", "loop", image, mount]))
        self.mounted = mount
        super().begin(mount)
        self.place = place

    def end(self):
        if self.mounted is not None:
            self.setting.meter.run(Command(["umount", self.mounted]))
            self.mounted = None
