"""What the agent is meant to reach, as data: each aim is a figure of a run, a unit, and its limit.

An aim is a wish and no test: a run whose figures are worse ends with 0 all the same.
"""

from dataclasses import dataclass
from typing import Callable, Optional

from .figures import Figures, divided

AUTO, RAW, STEP = "kale-agent", "kale-agent raw", "kale-agent in a step"
CP_B3SUM = "cp then b3sum"
PYTHON, PLAIN, JOBLIB = "kale_agent", "plain file", "joblib"
BUCKET, CLIENTS = "kale-agent on S3", ("s5cmd on S3", "rclone on S3")
MOVERS = (AUTO, RAW, STEP)
UNITS = {"x": (1, "", 2), "%": (100, " %", 2), "ms": (1000, " ms", 1), "s": (1, " s", 2), "MiB": (2**-20, " MiB", 0)}


@dataclass
class Aim:
    """One aim: met if the figure is at most the limit, or at least where `at_least` says so."""

    what: str
    figure: Callable[[Figures], Optional[float]]
    limit: float
    unit: str = "x"
    at_least: bool = False
    # Why there is no figure, where that is known.
    without: str = "not measured in this run"

    def met(self, figure):
        """Whether a figure reaches it."""
        return figure >= self.limit if self.at_least else figure <= self.limit


def ratio(workload, peer, op, measure):
    """A median of ratios to the `cp` right before."""
    return lambda f: f.ratio(workload, peer, op, measure)


def share(workload, peer, op):
    """New bytes as a share of what was saved."""
    return lambda f: f.share(workload, peer, op)


def python(workload, op, other, measure="seconds"):
    """A median of what Python code waits for, divided by another way's."""
    return lambda f: f.against(f"py-{workload}", op, measure, PYTHON, other)


def over(workload, peer):
    """The median of what a command costs beyond the bare one right before it."""
    return lambda f: f.overhead(workload, peer, "run")


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


def aims(cores):
    """All aims, for a machine with so many cores."""
    rows = []

    def each(what, workloads, make, limit, **more):
        rows.extend(Aim(f"{what}: {w}", make(w), limit, **more) for w in workloads)

    synced = "save and sync ÷ cp and sync"
    each(synced, "ad", lambda w: ratio(w, AUTO, "save", "synced"), 0.55)
    rows += [
        Aim(f"{synced}: b kept raw", ratio("b", RAW, "save", "synced"), 1.0),
        Aim(f"{synced}: b compressed", ratio("b", AUTO, "save", "synced"), 2.0),
        Aim("bytes stored: b compressed", share("b", AUTO, "save"), 0.46, "%"),
        Aim(f"{synced}: c kept raw", ratio("c", RAW, "save", "synced"), 0.40),
        Aim(f"{synced}: c compressed", ratio("c", AUTO, "save", "synced"), 0.40),
        Aim(f"{synced}: e kept raw", ratio("e", RAW, "save", "synced"), 1.0),
        Aim(f"{synced}: e compressed", ratio("e", AUTO, "save", "synced"), 1.5),
        Aim("bytes stored: e compressed", share("e", AUTO, "save"), 0.29, "%"),
    ]
    each("save ÷ cp", "ad", lambda w: ratio(w, AUTO, "save", "seconds"), 0.85)
    rows += [
        Aim("save ÷ cp: b kept raw", ratio("b", RAW, "save", "seconds"), 1.1),
        Aim("save ÷ cp: c kept raw", ratio("c", RAW, "save", "seconds"), 0.40),
        Aim("save ÷ cp: c compressed", ratio("c", AUTO, "save", "seconds"), 0.40),
    ]
    each(
        "save ÷ cp then b3sum",
        "abcde",
        lambda w: lambda f: f.against(w, "save", "seconds", RAW, CP_B3SUM),
        0.55,
    )
    if cores >= 8:
        rows.append(Aim("save ÷ cp with 8 cores: a", ratio("a", AUTO, "save", "seconds"), 0.35))
    each("save by adoption, in a step ÷ cp", "ad", lambda w: ratio(w, STEP, "save", "seconds"), 0.5)
    each("step code blocked by save ÷ plain file", "be", lambda w: python(w, "save", PLAIN), 1.0)
    each("step code blocked by save ÷ plain file", "a", lambda w: python(w, "save", PLAIN), 0.6)
    each("identical re-save ÷ cp", "abcde", lambda w: ratio(w, AUTO, "again", "seconds"), 0.5)
    each("identical re-save, new bytes", "abcde", lambda w: share(w, AUTO, "again"), 0.0002, unit="%")
    rows += [
        Aim("second version of d, new bytes: raw", share("d", RAW, "version 2"), 0.051, "%"),
        Aim("second version of d, new bytes: compressed", share("d", AUTO, "version 2"), 0.044, "%"),
        Aim("tensor inserted in front of d, new bytes", share("d", AUTO, "version 4"), 0.0005, "%"),
        Aim("second version of d, and sync ÷ cp and sync", ratio("d", AUTO, "version 2", "synced"), 0.5),
        Aim("2 % of c changed ÷ cp", ratio("c", AUTO, "version 2", "seconds"), 0.35),
        Aim("2 % of c changed, new bytes", share("c", AUTO, "version 2"), 0.021, "%"),
    ]
    each("restore, verified ÷ cp", "ad", lambda w: ratio(w, AUTO, "restore", "seconds"), 0.75)
    rows += [
        Aim("restore, verified ÷ cp: b raw", ratio("b", RAW, "restore", "seconds"), 0.95),
        Aim("restore, verified ÷ cp: b compressed", ratio("b", AUTO, "restore", "seconds"), 1.5),
        Aim("restore, verified ÷ cp: c", ratio("c", AUTO, "restore", "seconds"), 0.50),
        Aim("restore, verified ÷ cp: e raw", ratio("e", RAW, "restore", "seconds"), 0.95),
    ]
    each("input of a step, by reflink or link ÷ cp", "ad", lambda w: ratio(w, STEP, "restore", "seconds"), 0.02)
    rows += [
        Aim(
            "load from Python to a writable array: a", lambda f: f.median("py-a", PYTHON, "load", "seconds"), 0.02, "ms"
        ),
        Aim("load from Python and one pass ÷ np.load and pass: a", python("a", "load", PLAIN, "whole"), 1.0),
        Aim(
            "load from Python: d",
            lambda f: None,
            0.02,
            "ms",
            without="no measure: a checkpoint loads as a path, unless PyTorch saved it",
        ),
        Aim("load of objects ÷ joblib.load: e", python("e", "load", JOBLIB), 0.7),
        Aim(
            f"peak memory while moving data, 64 MiB + 8 MiB a core ({cores})",
            lambda f: f.peak(MOVERS),
            (64 + 8 * cores) * 2**20,
            "MiB",
        ),
        Aim("overhead of run -- true", over("startup", "run -- true"), 0.010, "ms"),
        Aim("fan-in of 1,200: resolved and complete", lambda f: f.median("f", AUTO, "many", "resolved"), 1.0, "s"),
        Aim("fan-in: cost linear in producers", slope, 1.25),
        Aim("fan-in: 64 of 16 MiB ÷ one of 1 GiB", pieces, 1.15),
    ]
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
    """Each aim as a row: what, figure, limit, and `met`, `not met` or why there is none."""
    rows = []
    for aim in aims(cores):
        figure = aim.figure(figures)
        limit = f"{'≥' if aim.at_least else '≤'} {shown(aim.limit, aim.unit)}"
        if figure is None:
            rows.append((aim.what, "–", limit, aim.without))
        else:
            rows.append((aim.what, shown(figure, aim.unit), limit, "met" if aim.met(figure) else "**not met**"))
    return rows
