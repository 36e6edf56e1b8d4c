"""`python -m bench`: makes the workloads, runs the rounds, writes the report. See docs/benchmarks/README.md."""

import argparse
import datetime
import itertools
import json
import os
import signal
import sys
from pathlib import Path

from . import fan_in, install, machine, objects, plot, report, rounds, startup, workloads
from .measure import Meter
from .peers import PEERS
from .peers.bucket import Bucket
from .place import Place
from .setting import Setting

ROOT = Path(__file__).resolve().parents[2]
PUBLISHED = ROOT / "docs" / "benchmarks"
ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
PARTS = (*workloads.WHAT, "f", "python", "startup", "bucket")
# What the aims for buckets are about.
IN_BUCKETS = ("a", "c")


def arguments():
    parser = argparse.ArgumentParser(prog="bench", description="Measures kale-agent beside its peers.")
    parser.add_argument("--agent", default=ROOT / "target" / "kale-agent", help="the binary")
    parser.add_argument("--work", default=ROOT / "target" / "bench", type=Path, help="where everything is made")
    parser.add_argument("--workloads", default="", help=f"which, with commas between: {','.join(PARTS)}; all if empty")
    parser.add_argument("--peers", default="", help="which, by name or how names begin, with commas between")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1.0, help="of the workloads' sizes")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--install", action="store_true", help=f"install peers first: {', '.join(install.DEBIAN)}")
    parser.add_argument("--publish", action="store_true", help="write the report to docs/benchmarks")
    given = parser.parse_args()
    given.workloads = [part for part in given.workloads.split(",") if part] or list(PARTS)
    unknown = [part for part in given.workloads if part not in PARTS]
    if unknown:
        parser.error(f"no workload {', '.join(unknown)}: there are {', '.join(PARTS)}")
    if given.rounds < 1 or given.scale <= 0:
        parser.error("--rounds and --scale are more than nought")
    if not Path(given.agent).exists():
        parser.error("no binary: make build, or name one with --agent")
    return given


def named(names, wanted):
    """Those of the names that are asked for: all without a wish, else the same name or all that begin with it."""
    found = set(names) if not wanted else set()
    for name in wanted:
        found.update([name] if name in names else [one for one in names if one.startswith(name)])
    return found


def chosen_peers(setting, wanted):
    """The peers that are asked for and are here; the others are named with the reason."""
    chosen = []
    every = [make(setting) for make in PEERS]
    asked = named([peer.name for peer in every], wanted)
    for peer in (peer for peer in every if peer.name in asked):
        reason = peer.absent()
        if reason:
            setting.left_out[peer.name] = reason
        else:
            chosen.append(peer)
    if setting.left_out:
        absent = ", ".join(f"{name} ({reason})" for name, reason in setting.left_out.items())
        setting.say(f"left out: {absent}. To have them: {install.HINT}")
    return chosen


def measure(setting, given, peers):
    """Runs every part that is asked for."""
    data = setting.place.root / "data"

    def made(name):
        setting.say(f"workload {name}")
        return workloads.make(name, data, given.seed, given.scale)

    for name in given.workloads:
        if name in workloads.WHAT:
            # Elsewhere clients of buckets are not aimed at, and take most of the time.
            rounds.run(setting, made(name), [p for p in peers if name in IN_BUCKETS or not isinstance(p, Bucket)])
    if "bucket" in given.workloads:
        clients = [peer for peer in peers if isinstance(peer, Bucket)]
        for name in IN_BUCKETS:
            if name not in given.workloads:
                rounds.run(setting, made(name), clients)
    if "python" in given.workloads:
        for name in objects.KINDS:
            objects.run(setting, made(name))
    if "startup" in given.workloads:
        setting.attempt("startup", startup.run, setting)
    if "f" in given.workloads:
        setting.attempt("f", fan_in.run, setting)


def write(setting, given, about):
    """Writes samples, report and picture; returns where the report is."""
    folder = PUBLISHED if given.publish else setting.place.root
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{about['date']}-{machine.slug(about['machine'])}"
    if given.publish:
        name = unused(folder, name)
    pictures = [folder / f"{name}.svg", setting.place.root / f"{name}.png"]
    title = f"{about['machine']['cpu']}, {about['machine']['cores']} cores, {about['date']}"
    drawn = plot.draw(setting.samples, workloads.WHAT, title, pictures)
    raw = {"about": about, "left_out": setting.left_out, "wrong": setting.wrong, "samples": setting.samples}
    (folder / f"{name}.json").write_text(dumped(raw))
    text = report.render(about, setting.samples, setting.left_out, setting.wrong, f"{name}.svg" if drawn else None)
    path = folder / f"{name}.md"
    path.write_text(text)
    return path


def unused(folder, name):
    """The name, or the first with a number behind it that no report has: none that was published is replaced."""
    names = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
    return next(one for one in names if not (folder / f"{one}.md").exists())


def commit(setting):
    """The commit that is checked out, and whether anything differs from it; empty without git."""
    head = setting.first_line(["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"])
    if not head or " " in head:
        return ""
    return head + (", changed" if setting.first_line(["git", "-C", str(ROOT), "status", "--porcelain", "-uno"]) else "")


def dumped(raw):
    """JSON with a line for each sample and microseconds at most."""

    def short(value):
        if isinstance(value, dict):
            return {key: short(one) for key, one in value.items()}
        return round(value, 6) if isinstance(value, float) else value

    samples = ",\n".join(json.dumps(short(sample)) for sample in raw["samples"])
    rest = json.dumps({key: value for key, value in raw.items() if key != "samples"}, indent=1)
    return f'{rest[:-2]},\n "samples": [\n{samples}\n]}}\n'


def interrupted(_signal, _frame):
    # Once is enough: a second one must not break off the clearing away.
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def main():
    given = arguments()
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for number in ENDING:
        signal.signal(number, interrupted)
    if given.install:
        install.install()
    place = Place(given.work)
    if place.empty():
        place.settle()
    meter = Meter(place)
    setting = Setting(given.agent, place, meter, given.rounds, given.scale, given.seed)
    try:
        peers = chosen_peers(setting, [name for name in given.peers.split(",") if name])
        about = {
            "date": datetime.date.today().isoformat(),
            "machine": machine.describe(place.root),
            "scale": given.scale,
            "rounds": given.rounds,
            "commit": commit(setting),
            "seed": given.seed,
            "floor": meter.floor(),
            "versions": {peer.name: peer.version() for peer in peers},
        }
        try:
            measure(setting, given, peers)
        except KeyboardInterrupt:
            # What was measured up to then is worth reading, and says that it is not all: nothing to be published.
            setting.wrong.append("interrupted: parts are missing")
            given.publish = False
        path = write(setting, given, about)
    finally:
        meter.close()
        place.empty()
    setting.say(f"report: {os.path.relpath(path)}")
    for one in setting.wrong:
        setting.say(f"WRONG {one}")
    return 1 if setting.wrong else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
