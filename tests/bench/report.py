"""The report: Markdown from samples, and nothing that is not in them or in what is said about the run."""

from . import fan_in, objects, startup
from .aims import evaluate
from .figures import Figures, divided, middle
from .workloads import VERSIONS, WHAT

MISSING = "–"


def number(value, places=2, factor=1.0):
    """A number, or a dash."""
    return MISSING if value is None else f"{value * factor:.{places}f}"


def spread(values):
    """The median, and between which it lies."""
    median = number(middle(values))
    return median if len(values) < 2 else f"{median} ({min(values):.2f}–{max(values):.2f})"


def table(head, rows):
    """A Markdown table; the first column is text, the others are numbers."""
    lines = ["| " + " | ".join(head) + " |", "|---" + "|--:" * (len(head) - 1) + "|"]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]


def pair(first, second):
    """Two figures in one cell."""
    return MISSING if first == second == MISSING else f"{first} / {second}"


def workload_table(figures, workload):
    """Every peer of one workload, and its later versions."""
    head = ["peer", "rounds", "save s", "÷ cp", "and sync ÷ cp", "restore s", "÷ cp", "CPU s", "peak MiB", "stored %"]
    again = ["re-save ÷ cp", "new %"]
    versions = [op for op in figures.ops(workload) if op.startswith("version ")]
    for op in versions:
        again += [f"{op} s", "and sync ÷ cp", "new %"]
    rows = []
    for peer in figures.peers(workload):

        def median(op, measure, places=2, factor=1.0):
            return number(figures.median(workload, peer, op, measure), places, factor)

        row = [peer, str(figures.count(workload, peer)), median("save", "seconds", 3)]
        row += [spread(figures.ratios(workload, peer, "save", measure)) for measure in ("seconds", "synced")]
        row += [median("restore", "seconds", 3), spread(figures.ratios(workload, peer, "restore", "seconds"))]
        row.append(pair(median("save", "cpu"), median("restore", "cpu")))
        row.append(pair(median("save", "rss", 0, 2**-20), median("restore", "rss", 0, 2**-20)))
        row.append(number(figures.share(workload, peer, "save"), 1, 100))
        row.append(number(figures.ratio(workload, peer, "again", "seconds")))
        row.append(number(figures.share(workload, peer, "again"), 3, 100))
        for op in versions:
            row += [median(op, "seconds", 3), number(figures.ratio(workload, peer, op, "synced"))]
            row.append(number(figures.share(workload, peer, op), 3, 100))
        rows.append(row)
    what = f"## {workload}: {WHAT[workload]}"
    changes = [f"Version {v}: {text}." for v, text in VERSIONS.get(workload, {}).items()]
    return [what, "", *([" ".join(changes), ""] if changes else []), *table(head + again, rows), ""]


def python_table(figures):
    """What step code waits for."""
    rows = []
    for workload, kind in objects.KINDS.items():
        name = f"py-{workload}"
        for how in figures.peers(name):
            row = [f"{workload}: {objects.OBJECTS[kind]}" if how == objects.PLAIN else f"{workload}: {how}"]
            for op, measure in (("save", "seconds"), ("load", "seconds"), ("load", "whole")):
                row.append(number(figures.median(name, how, op, measure), 4))
                row.append(number(figures.ratio(name, how, op, measure)))
            rows.append(row)
    if not rows:
        return []
    head = ["object", "save s", "÷ plain", "load s", "÷ plain", "load and pass s", "÷ plain"]
    lines = ["## Objects in Python", ""]
    lines += ["How long the step's code waits. The plain file is that of the first row of each object.", ""]
    return lines + table(head, rows) + [""]


def startup_table(figures):
    """What the agent adds to a command."""
    rows = []
    for peer in figures.peers(startup.WORKLOAD):
        seconds = figures.median(startup.WORKLOAD, peer, "run", "seconds")
        beyond = figures.overhead(startup.WORKLOAD, peer, "run") if peer != startup.BARE else None
        each = divided(beyond, startup.CHAIN) if peer in startup.HUNDREDS else beyond
        rows.append([peer, number(seconds, 2, 1000), number(beyond, 2, 1000), number(each, 2, 1000)])
    if not rows:
        return []
    head = ["command", "ms", "beyond the bare command, ms", "each, ms"]
    return ["## Starting", "", *table(head, rows), ""]


def fan_in_table(figures):
    """Consumers of many producers."""
    rows = []
    for op in figures.ops(fan_in.WORKLOAD):
        count = figures.median(fan_in.WORKLOAD, fan_in.PEER, op, "count")
        seconds = figures.median(fan_in.WORKLOAD, fan_in.PEER, op, "seconds")
        resolved = figures.median(fan_in.WORKLOAD, fan_in.PEER, op, "resolved")
        size = figures.median(fan_in.WORKLOAD, fan_in.PEER, op, "size")
        bytes_each = number(divided(size, count), 1, 2**-20) if size else "tiny"
        memory = number(figures.median(fan_in.WORKLOAD, fan_in.PEER, op, "rss"), 0, 2**-20)
        rows.append([f"{count:.0f}", bytes_each, number(resolved, 4), number(seconds, 3), memory])
    if not rows:
        return []
    head = ["producers", "MiB each", "resolved and complete, s", "until the command starts, s", "peak MiB"]
    return ["## f: fan-in", "", *table(head, rows), ""]


def render(about, samples, left_out, wrong, plot=None):
    """The whole report as text.

    `about` has `date`, `machine`, `scale`, `rounds`, `seed`, `floor` and `versions`; `left_out` says by name why
    something was not measured; `wrong` lists what failed.
    """
    figures, machine = Figures(samples), about["machine"]
    lines = [f"# Benchmarks, {about['date']}", ""]
    lines += [
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB of memory, "
        f"Linux {machine['kernel']}, {machine['file_system']}. {about['rounds']} rounds, interleaved; medians; "
        f"ratios to the `cp` right before each command. Seed {about['seed']}, scale {about['scale']:g}. How to read it: [README.md](README.md).",
        "",
    ]
    if about["scale"] < 1:
        lines += ["**Not the full size: fixed costs weigh more here than they would, and no aim is meant for it.**", ""]
    if wrong:
        lines += ["**Something is wrong with this run:**", "", *(f"- {one}" for one in wrong), ""]
    if plot:
        lines += [f"![Save and restore beside cp]({plot})", ""]
    lines += ["## Aims", "", *table(["aim", "figure", "fastest", "least work", "writing alone", "limit", ""], evaluate(figures, machine["cores"])), ""]
    for workload in WHAT:
        if figures.peers(workload):
            lines += workload_table(figures, workload)
    lines += python_table(figures) + startup_table(figures) + fan_in_table(figures)
    floor = about["floor"] / 2**20
    lines += ["## About the figures", ""]
    lines += [
        "- Peak memory is that of the largest process of a command's tree, mapped files included; "
        f"of one that needs none it is {floor:.1f} MiB."
    ]
    returned = [sample["returned"] for sample in samples if "returned" in sample]
    some = sum(one > 0 for one in returned)
    if some:
        lines += [
            f"- While {some} of {len(returned)} commands ran, the machine gave memory back to its host, "
            f"{sum(returned) / 2**30:.0f} GiB in all: what is written next waits for it."
        ]
    if about.get("commit"):
        lines += [f"- Commit {about['commit']}."]
    lines += [f"- {version}" for version in dict.fromkeys(about["versions"].values()) if version]
    lines += [f"- Not measured: {name}: {reason}." for name, reason in left_out.items()]
    return "\n".join(lines) + "\n"
