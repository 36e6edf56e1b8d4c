"""Interleaved rounds: every peer once a round, and `cp` of the same bytes right before each command of a peer."""

from . import workloads
from .measure import Command, Failed
from .peers.plain import copy
from .place import has_many_files


class Round:
    """One peer's turn with one workload."""

    def __init__(self, setting, workload, peer, number):
        self.setting = setting
        self.workload = workload
        self.peer = peer
        self.number = number
        self.size = workload.size
        slug = peer.name.replace(" ", "-")
        self.place = setting.place.fresh(f"{workload.name}-{number}-{slug}")
        self.settles = peer.deletes and has_many_files(workload.source)
        self._copies = 0

    def run(self):
        """Saves, restores, saves again and saves later versions; everything is thrown away afterwards."""
        try:
            self.peer.begin(self.place)
            self._turn()
        finally:
            self.peer.end()
            self.setting.place.discard(self.place)

    def _turn(self):
        source = self.workload.source
        self.save("save", source, "v1")
        self.restore(source, "v1")
        if self.peer.keeps_versions or self.peer.saves_again:
            self.save("again", source, "again")
        if not self.peer.keeps_versions:
            return
        for number, (version, path) in enumerate(self.workload.versions.items()):
            if number > 0:
                self.peer.rebase(source, f"base{version}")
            self.save(f"version {version}", path, f"v{version}")

    def save(self, op, source, tag):
        """Measures one save and the bytes that it added to the store."""
        self.peer.prepare(source, tag)
        cp = self.copy(source)
        before = self.peer.stored()
        sample = self.setting.meter.timed(self.peer.save(source, tag), self.size)
        if self.settles:
            self.setting.place.settle()
        self.note(op, sample, cp, bytes=self.peer.stored() - before, size=workloads.source_bytes(source))

    def restore(self, source, tag):
        """Measures restores, and in the first round compares what came back first with what was saved."""
        if self.peer.restores == 0:
            return
        cp = self.copy(source)
        for time in range(self.peer.restores):
            self.restore_once(source, tag, cp, compare=self.number == 1 and time == 0)
        if self.settles:
            self.setting.place.settle()

    def restore_once(self, source, tag, cp, compare):
        """Measures one restore."""
        target = self.place / "restored"
        target.mkdir()
        sample = self.setting.meter.timed(self.peer.restore(source, tag, target), self.size)
        self.note("restore", sample, cp, size=self.size)
        if compare:
            restored = self.peer.restored(source, tag, target)
            if restored is None:
                command = self.peer.compare(source, tag)
            else:
                command = Command(["diff", "-rq", restored, source])
            try:
                self.setting.meter.run(command)
            except Failed as error:
                raise Failed(f"what was restored differs: {error}") from error
        self.setting.place.discard(target)

    def copy(self, source):
        """Measures `cp` into a new folder."""
        self._copies += 1
        target = self.place / f"copy{self._copies}"
        target.mkdir()
        sample = self.setting.meter.timed(copy(source, target), self.size)
        self.setting.place.discard(target)
        return {measure: sample[measure] for measure in ("seconds", "synced", "cpu")}

    def note(self, op, sample, cp, **more):
        """Keeps a sample."""
        named = {"workload": self.workload.name, "peer": self.peer.name, "op": op, "round": self.number}
        self.setting.samples.append({**named, **sample, **more, "base": cp})
        self.setting.say(
            f"  {self.workload.name} round {self.number} {self.peer.name:24} {op:10} {sample['seconds']:8.3f} s"
            f" {sample['seconds'] / cp['seconds']:6.2f} x cp, synced {sample['synced'] / cp['synced']:6.2f} x"
        )


def run(setting, workload, peers):
    """Runs all rounds of one workload; a peer that fails once is left out of the rounds that follow."""
    for path in (workload.source, *workload.versions.values()):
        workloads.warm(path)
    going = list(peers)
    for number in range(1, setting.rounds + 1):
        for peer in list(going):
            setting.place.make_room(workload.size)
            where = f"{workload.name}, {peer.name}, round {number}"
            if not setting.attempt(where, lambda peer=peer: Round(setting, workload, peer, number).run()):
                going.remove(peer)
