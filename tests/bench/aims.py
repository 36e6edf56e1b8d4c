"""What the agent is meant to reach, as a table: each row is a figure, and its limit for each workload.

An aim is a wish and no test: a run whose figures are worse ends with 0 all the same.
"""

from dataclasses import dataclass
from typing import Callable, Optional

from .figures import Figures, divided
from .startup import NESTED

COMPRESSED = "kale-agent compressed"
AUTO, RAW, STEP, CLONES = "kale-agent", "kale-agent raw", "kale-agent in a step", "kale-agent by clones"
UNSYNCED, RAW_UNSYNCED = "kale-agent unsynced", "kale-agent raw unsynced"
CP_B3SUM = "cp then b3sum"
LEAST, LEAST_COMPRESSED, LEAST_UNSYNCED = "least", "least compressed", "least unsynced"
ALONE, ALONE_UNSYNCED = "write alone", "write alone unsynced"
PYTHON, PLAIN, JOBLIB = "kale_agent", "plain file", "joblib"
BUCKET, CLIENTS = "kale-agent on S3", ("s5cmd on S3", "rclone on S3")
MOVERS = (AUTO, RAW, COMPRESSED, STEP, UNSYNCED, RAW_UNSYNCED, BUCKET)
UNITS = {"x": (1, "", 2), "%": (100, " %", 2), "ms": (1000, " ms", 1), "s": (1, " s", 2), "MiB": (2**-20, " MiB", 0)}
# What has a fastest round; bytes do not.
TIMED = ("x", "s", "ms")


@dataclass
class Aim:
    """One aim: met if the figure is at most the limit, or at least where `at_least` says so.

    `least` is the same figure of a program that does no more than it has to: where that misses the limit too, the aim is
    hardly in reach on this machine. `alone` is that of one that only writes: where that misses it, it is out of reach.
    """

    what: str
    figure: Callable[[Figures], Optional[float]]
    limit: float
    unit: str = "x"
    at_least: bool = False
    least: Callable[[Figures], Optional[float]] = lambda _: None
    alone: Callable[[Figures], Optional[float]] = lambda _: None

    def met(self, figure):
        """Whether a figure reaches it."""
        return figure >= self.limit if self.at_least else figure <= self.limit


# Each of these makes a figure of a workload and of the peer that its variant stands for.


def synced(op):
    """Until everything is written back, as a ratio to the same of the `cp` right before."""
    return lambda workload, peer: lambda f: f.ratio(workload, peer, op, "synced")


def seconds(op):
    """Until the command ends, as a ratio to the same of the `cp` right before."""
    return lambda workload, peer: lambda f: f.ratio(workload, peer, op, "seconds")


UNSYNCED_FORMS = {AUTO: UNSYNCED, RAW: RAW_UNSYNCED, LEAST: LEAST_UNSYNCED, ALONE: ALONE_UNSYNCED}


def unsynced(op):
    """The same, of a save that is not told to make anything outlive a crash, as `cp` is not either."""
    return lambda workload, peer: seconds(op)(workload, UNSYNCED_FORMS[peer])


def by(peer, op):
    """Until the command ends, as a ratio to `cp`, of another peer."""
    return lambda workload, _: seconds(op)(workload, peer)


def digested(workload, peer):
    """A save without sync, divided by `cp` and `b3sum` one after the other."""
    return lambda f: f.against(workload, "save", "seconds", UNSYNCED_FORMS[peer], CP_B3SUM)


def adopted(workload, peer):
    """A save that writes nothing, as a ratio to `cp`: of the least work, a digest of what it has."""
    return seconds("again")(workload, LEAST) if peer == LEAST else seconds("save")(workload, STEP)


def share(op):
    """New bytes as a share of what was saved."""
    return lambda workload, peer: lambda f: f.share(workload, peer, op)


def python(op, other, measure="seconds"):
    """What Python code waits for, divided by another way's."""
    return lambda workload, _: lambda f: f.against(f"py-{workload}", op, measure, PYTHON, other)


def usable(workload, _):
    """How long Python code waits for an array that it can write to."""
    return lambda f: f.median(f"py-{workload}", PYTHON, "load", "seconds")


def run(figure):
    """A figure of its own."""
    return lambda *_: figure


def slope(f):
    """Seconds a producer from some to many, divided by those from few to some: 1 is linear."""
    points = [(f.median("f", AUTO, op, "count"), f.median("f", AUTO, op, "seconds")) for op in ("few", "some", "many")]
    if any(value is None for point in points for value in point):
        return None
    (n0, t0), (n1, t1), (n2, t2) = points
    return divided(divided(t2 - t1, n2 - n1), divided(t1 - t0, n1 - n0))


def pieces(f):
    """Restoring 64 outputs of 16 MiB, divided by restoring one of 1 GiB."""
    return divided(f.median("f", AUTO, "pieces", "seconds"), f.median("f", AUTO, "whole", "seconds"))


def bucket(workload, op):
    """How many times as fast as the faster client of a bucket the agent is."""

    def figure(f):
        others = [f.ratio(workload, client, op, "seconds") for client in CLIENTS]
        fastest = min((one for one in others if one is not None), default=None)
        return divided(fastest, f.ratio(workload, BUCKET, op, "seconds"))

    return figure


SAVE, UNSYNCED_SAVE = "save and sync ÷ cp and sync", "save ÷ cp, without sync"
DIGESTED_SAVE, ADOPTED = "save ÷ cp then b3sum, without sync", "save by adoption, in a step ÷ cp"
RESAVE, RESTORE = "identical re-save ÷ cp", "restore, verified ÷ cp"
# Those that reading, hashing and writing bound, whoever does it.
BOUND = (SAVE, UNSYNCED_SAVE, DIGESTED_SAVE, ADOPTED, RESAVE, RESTORE)
# Of these, those that write all of it.
WRITTEN = (SAVE, UNSYNCED_SAVE, DIGESTED_SAVE)

# What, how, and the limit for each workload; a variant is the agent without or with compression, else as it comes.
TABLE = (
    (SAVE, synced("save"), "x", {"a": 0.55, "d": 0.55}),
    (SAVE, synced("save"), "x", {"b kept raw": 1.0, "c kept raw": 0.40, "e kept raw": 1.0}),
    (SAVE, synced("save"), "x", {"b compressed": 2.0, "c": 0.40, "e compressed": 1.5}),
    ("bytes stored", share("save"), "%", {"b compressed": 0.46, "e compressed": 0.29}),
    (UNSYNCED_SAVE, unsynced("save"), "x", {"a": 0.85, "d": 0.85, "b kept raw": 1.1}),
    (UNSYNCED_SAVE, unsynced("save"), "x", {"c kept raw": 0.40, "c": 0.40}),
    (DIGESTED_SAVE, digested, "x", {f"{workload} kept raw": 0.55 for workload in "abcde"}),
    (ADOPTED, adopted, "x", {"a": 0.5, "d": 0.5}),
    ("step code blocked by save ÷ plain file", python("save", PLAIN), "x", {"a": 0.6, "b": 1.0, "e": 1.0}),
    (RESAVE, seconds("again"), "x", dict.fromkeys("abcde", 0.5)),
    ("identical re-save, new bytes", share("again"), "%", dict.fromkeys("abcde", 0.0002)),
    ("second version, new bytes", share("version 2"), "%", {"d kept raw": 0.051, "d compressed": 0.044, "c": 0.021}),
    ("tensor inserted in front, new bytes", share("version 4"), "%", {"d": 0.0005}),
    ("second version, and sync ÷ cp and sync", synced("version 2"), "x", {"d": 0.5}),
    ("2 % changed ÷ cp", seconds("version 2"), "x", {"c": 0.35}),
    (RESTORE, seconds("restore"), "x", {"a": 0.75, "d": 0.75, "b kept raw": 0.95}),
    (RESTORE, seconds("restore"), "x", {"b compressed": 1.5, "c": 0.50, "e kept raw": 0.95}),
    ("input of a step, by clones ÷ cp", by(CLONES, "restore"), "x", {"a": 0.02, "d": 0.02}),
    ("load from Python to writable arrays", usable, "ms", {"a": 0.02, "d": 0.02}),
    ("load from Python and one pass ÷ plain file and pass", python("load", PLAIN, "whole"), "x", {"a": 1.0}),
    ("load of objects ÷ joblib.load", python("load", JOBLIB), "x", {"e": 0.7}),
    ("overhead of run -- true", run(lambda f: f.overhead("startup", "run -- true", "run")), "ms", {"": 0.010}),
    ("run -- true, 100 deep", run(lambda f: f.median("startup", NESTED, "run", "seconds")), "s", {"": 1.0}),
    ("fan-in of 1,200: resolved and complete", run(lambda f: f.median("f", AUTO, "many", "resolved")), "s", {"": 1.0}),
    ("fan-in: cost linear in producers", run(slope), "x", {"": 1.25}),
    ("fan-in: 64 of 16 MiB ÷ one of 1 GiB", run(pieces), "x", {"": 1.15}),
)


def aims(cores):
    """All aims, for a machine with so many cores."""
    rows = []
    for what, figure, unit, limits in TABLE:
        for which, limit in limits.items():
            workload, _, variant = which.partition(" ")
            # By itself the agent compresses only where the medium is slow enough.
            peer = {"kept raw": RAW, "compressed": COMPRESSED}.get(variant, AUTO)
            made = figure(workload, peer)
            aim = Aim(f"{what}: {which}" if which else what, made, limit, unit)
            if what in BOUND:
                compressed = variant == "compressed"
                aim.least = figure(workload, LEAST_COMPRESSED if compressed else LEAST)
                if what in WRITTEN and not compressed:
                    aim.alone = figure(workload, ALONE)
            rows.append(aim)
    if cores >= 8:
        rows.append(Aim("save ÷ cp, without sync, with 8 cores: a", unsynced("save")("a", AUTO), 0.35))
    memory = (64 + 8 * cores) * 2**20
    what = f"peak memory while moving data, 64 MiB + 8 MiB a core ({cores})"
    rows.append(Aim(what, lambda f: f.peak(MOVERS), memory, "MiB"))
    for workload, op, limit in (("a", "save", 1.0), ("a", "restore", 1.0), ("c", "save", 15.0), ("c", "restore", 10.0)):
        what = f"bucket, {op}: the faster of s5cmd and rclone ÷ kale-agent: {workload}"
        rows.append(Aim(what, bucket(workload, op), limit, at_least=True))
    return rows


def shown(value, unit):
    """A figure with its unit."""
    factor, suffix, places = UNITS[unit]
    value = value * factor
    if unit == "%" and 0 < value < 0.1:
        places = 4
    return f"{value:.{places}f}{suffix}"


def evaluate(figures, cores):
    """Each aim as a row: what, figure, the same of the fastest rounds, the least work's, that of writing alone, limit, and a verdict.

    The verdict is `met`, `not met` or that there is none.
    """
    rows, fastest = [], figures.fastest()
    for aim in aims(cores):
        figure = aim.figure(figures)
        limit = f"{'≥' if aim.at_least else '≤'} {shown(aim.limit, aim.unit)}"
        best = aim.figure(fastest) if aim.unit in TIMED else None
        least, alone = aim.least(figures), aim.alone(figures)
        verdict = "not measured in this run"
        if figure is not None:
            verdict = "met" if aim.met(figure) else "**not met**"
            beside = {"writing alone": alone, "the least work": least}
            others = [name for name, value in beside.items() if value is not None and not aim.met(value)]
            if not aim.met(figure) and others:
                verdict += f", nor by {others[0]}"
            elif not aim.met(figure) and best is not None and aim.met(best):
                verdict += ", but at its fastest"
        cells = ["–" if value is None else shown(value, aim.unit) for value in (figure, best, least, alone)]
        rows.append((aim.what, *cells, limit, verdict))
    return rows
