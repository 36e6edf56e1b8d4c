"""Workload f: one consumer of many producers, made by the agent in a store of its own."""

import itertools
import json

from . import workloads
from .measure import Command
from .peers.kale_agent import PIPELINE

WORKLOAD = "f"
PEER = "kale-agent"
# The producers of small outputs: few, some, many.
COUNTS = {"few": 12, "some": 300, "many": 1200}
# What takes milliseconds is measured so often in a round.
TIMES = 5
PIECES = 64
TINY = (
    'i=0; while [ $i -lt $2 ]; do "$1" run -q --step "$3" --shard $i/$2 --out o -- '
    "sh -c 'echo $KALE_SHARD > \"$KALE_OUT_O\"' || exit 1; i=$((i+1)); done"
)
LARGE = (
    'i=0; while [ $i -lt $2 ]; do "$1" run -q --step "$3" --shard $i/$2 --out o -- '
    'sh -c \'dd if="$1" of="$KALE_OUT_O" bs="$2" skip="$3" count=1 status=none\' sh "$4" "$5" $i || exit 1; '
    "i=$((i+1)); done"
)


def counts(scale):
    """How many producers each of the three has at a scale; never so few that the figures say nothing."""
    return {name: max(12, round(count * min(1, scale))) for name, count in COUNTS.items()}


class FanIn:
    """The store with its producers, and the consumers that are measured."""

    def __init__(self, setting):
        self.setting = setting
        self.place = setting.place.fresh("fan-in")
        self.env = {"KALE_STORE": self.place / "store", "KALE_PIPELINE": PIPELINE, "KALE_RUN": "v1"}
        self.counts = counts(setting.scale)
        self.piece = max(64 << 10, int((16 << 20) * setting.scale))
        self.consumers = itertools.count()

    def produce(self):
        """Makes all producers, untimed."""
        run, agent = self.setting.meter.run, self.setting.agent
        run(Command([agent, "init", "--quiet", self.place / "store"]))
        for name, count in self.counts.items():
            self.setting.say(f"  f: {count} producers")
            run(Command(["sh", "-c", TINY, "sh", agent, count, name], self.env))
        source = workloads.make("a", self.setting.place.root / "data", self.setting.seed, self.setting.scale).source
        for step, count, size in (("pieces", PIECES, self.piece), ("whole", 1, self.piece * PIECES)):
            run(Command(["sh", "-c", LARGE, "sh", agent, count, step, source, size], self.env))

    def consume(self, step, number, size):
        """Measures a consumer of a step's outputs until its command starts, and what the agent says of itself."""
        clock, consumer = self.place / "clock", f"consume-{step}-{next(self.consumers)}"
        argv = [self.setting.agent, "run", "--quiet", "--step", consumer, "--in", f"x={step}[*]:o"]
        argv += ["--", *self.setting.notes_time(clock)]
        sample = self.setting.meter.timed(Command(argv, self.env, clock=clock), size)
        shown = Command([self.setting.agent, "show", "--json", f"{PIPELINE}/v1/{consumer}"], self.env)
        times = json.loads(self.setting.meter.output(shown))["times"]
        sample["resolved"] = (times["ready_ns"] - times["started_ns"]) / 1e9
        count = {**self.counts, "pieces": PIECES, "whole": 1}[step]
        named = {"workload": WORKLOAD, "peer": PEER, "op": step, "round": number, "count": count, "size": size}
        self.setting.samples.append({**named, **sample})
        seconds = f"resolved {sample['resolved']:.3f} s, all {sample['seconds']:.3f} s"
        self.setting.say(f"  f round {number} {count:5} producers: {seconds}")


def run(setting):
    """Makes the producers once, and measures the consumers in interleaved rounds."""
    fan_in = FanIn(setting)
    try:
        fan_in.produce()
        for number in range(1, setting.rounds + 1):
            for step in TIMES * ("few", "some", "many"):
                fan_in.consume(step, number, 0)
            for step in ("pieces", "whole"):
                fan_in.consume(step, number, fan_in.piece * PIECES)
    finally:
        setting.place.discard(fan_in.place)
