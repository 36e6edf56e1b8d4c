"""Objects from Python: how long a step's code waits for `save` and `load`, beside a plain file of the same object."""

import importlib.util
import sys

from .measure import HERE, Command
from .peers.kale_agent import PIPELINE
from .place import source_bytes
from .workloads import warm

PLAIN, AGENT = "plain file", "kale_agent"
WAYS = (PLAIN, AGENT, "joblib", "kale marshal")
KINDS = {"a": "array", "b": "table", "d": "checkpoint", "e": "model"}
NEEDS = {"joblib": "joblib", "kale marshal": "kale"}
OBJECTS = {
    "array": "np.save and np.load",
    "table": "pickle of a DataFrame",
    "checkpoint": "a copy of the file, read whole",
    "model": "pickle of a model",
}
# A checkpoint is a file that another library wrote: joblib and Kale have no way of their own to keep it.
ONLY = {"checkpoint": (PLAIN, AGENT)}


def ways(setting, kind):
    """The ways that can be measured here."""
    here = []
    for how in ONLY.get(kind, WAYS):
        if how in NEEDS and importlib.util.find_spec(NEEDS[how]) is None:
            setting.left_out[how] = f"the Python package {NEEDS[how]} is not installed"
        else:
            here.append(how)
    return here


class Turn:
    """One way of saving and loading one object, once, with the plain file right before it."""

    def __init__(self, setting, workload, how, number):
        self.setting = setting
        self.kind = KINDS[workload.name]
        self.how = how
        self.number = number
        self.source = workload.source / "trades.parquet" if self.kind == "table" else workload.source
        self.size = source_bytes(self.source)
        self.named = {"workload": f"py-{workload.name}", "peer": how, "round": number}
        self.place = setting.place.fresh(f"py-{workload.name}-{number}-{how.replace(' ', '-')}")

    def run(self):
        """Saves and loads."""
        setting = self.setting
        try:
            if self.how == AGENT:
                setting.meter.run(Command([setting.agent, "init", "--quiet", self.place / "store"]))
            for op in ("save", "load"):
                base = self.command(op, PLAIN, "plain.npy")
                base = setting.meter.timed(base, self.size) if self.how != PLAIN else None
                target = "plain.npy" if self.how == PLAIN else "object"
                sample = setting.meter.timed(self.command(op, self.how, target), self.size)
                setting.samples.append({**self.named, "op": op, **sample, "size": self.size, "base": base or sample})
                seconds = f"{sample['seconds']:.3f} s"
                if "whole" in sample:
                    seconds += f", with a pass {sample['whole']:.3f} s"
                setting.say(f"  {self.named['workload']} round {self.number} {self.how:14} {op} {seconds}")
            if self.how == AGENT and self.number == 1:
                setting.meter.run(Command([setting.agent, "verify", "--store", self.place / "store"]))
        finally:
            setting.place.discard(self.place)

    def command(self, op, how, target):
        """The command of one step, under the agent where the agent stores."""
        report = self.place / "report.json"
        script = HERE / "steps" / f"{op}_object.py"
        argv = [sys.executable, script, self.kind, self.source, how, self.place / target, report]
        if op == "load":
            argv.append("compare" if self.number == 1 else "-")
        if how != AGENT:
            return Command(argv, report=report)
        env = {"KALE_STORE": self.place / "store", "KALE_PIPELINE": PIPELINE, "KALE_RUN": "v1"}
        return Command([self.setting.agent, "run", "--quiet", "--step", op, "--", *argv], env, report=report)


def run(setting, workload):
    """Runs all rounds of one object."""
    warm(workload.source)
    going = ways(setting, KINDS[workload.name])
    for number in range(1, setting.rounds + 1):
        for how in list(going):
            where = f"py-{workload.name}, {how}, round {number}"
            if not setting.attempt(where, lambda how=how: Turn(setting, workload, how, number).run()):
                going.remove(how)
