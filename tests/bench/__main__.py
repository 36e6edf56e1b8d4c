"""`python -m bench`: makes the workloads, runs the rounds, writes the report. See docs/benchmarks/README.md."""

import argparse
import json
import sys
from pathlib import Path

from . import rounds, workloads
from .measure import Meter
from .peers import PEERS
from .place import Place
from .setting import Setting

ROOT = Path(__file__).resolve().parents[2]


def arguments():
    parser = argparse.ArgumentParser(prog="bench", description="Measures kale-agent beside its peers.")
    parser.add_argument("--agent", default=ROOT / "target" / "kale-agent", help="the binary")
    parser.add_argument("--work", default=ROOT / "target" / "bench", type=Path, help="where everything is made")
    parser.add_argument("--workloads", default="a,b,c,d,e", help="which, with commas between")
    parser.add_argument("--peers", default="", help="which, by the beginnings of their names; all if empty")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1.0, help="of the workloads' sizes")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def main():
    given = arguments()
    place = Place(given.work)
    meter = Meter(place)
    try:
        setting = Setting(given.agent, place, meter, given.rounds, given.scale, given.seed)
        peers = [make(setting) for make in PEERS]
        for peer in peers:
            reason = peer.absent()
            if reason:
                setting.left_out[peer.name] = reason
        peers = [peer for peer in peers if peer.name not in setting.left_out]
        for name in given.workloads.split(","):
            workload = workloads.make(name, place.root / "data", given.seed, given.scale)
            rounds.run(setting, workload, peers)
        (place.root / "samples.json").write_text(json.dumps(setting.samples))
        place.empty()
    finally:
        meter.close()
    print(setting.left_out, setting.wrong)
    return 1 if setting.wrong else 0


sys.exit(main())
