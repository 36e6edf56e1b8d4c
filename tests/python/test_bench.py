"""The benchmark harness: its arithmetic, its aims, its report, and that its workloads are the same each time."""

import hashlib
import importlib.util
import json
import os
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import aims, machine, report  # noqa: E402
from bench.figures import Figures, divided, middle  # noqa: E402
from bench.measure import Command, Failed, Meter  # noqa: E402
from bench.place import Place, tree_bytes  # noqa: E402

AGENT = os.environ.get("KALE_AGENT_BIN")
LIBRARIES = {"a": ["numpy"], "b": ["numpy", "pyarrow"], "c": ["numpy"], "d": ["numpy"], "e": ["numpy", "sklearn"]}


def skip(reason):
    """Skips aloud: the reason is counted with those of the Rust tests."""
    path = os.environ.get("KALE_TEST_SKIPS")
    if path:
        with open(path, "a") as skips:
            skips.write(f"SKIPPED test_bench: {reason}\n")
    return unittest.SkipTest(reason)


def sample(seconds, cp, **more):
    """A sample of workload a, saved by kale-agent, unless said otherwise."""
    base = {"seconds": cp, "synced": 2 * cp, "cpu": cp}
    given = {"workload": "a", "peer": aims.AUTO, "op": "save", "round": 1, "seconds": seconds, "synced": 2 * seconds}
    return {**given, "cpu": 0.1, "rss": 50 << 20, "bytes": 10, "size": 100, "base": base, **more}


class Arithmetic(unittest.TestCase):
    def test_median_leaves_out_what_is_missing(self):
        self.assertEqual(middle([3, None, 1, 2]), 2)
        self.assertIsNone(middle([None]))

    def test_quotient(self):
        self.assertEqual(divided(3, 2), 1.5)
        self.assertIsNone(divided(None, 2))
        self.assertIsNone(divided(1, 0))

    def test_ratio_is_of_each_pair_and_not_of_the_medians(self):
        # The machine was three times as slow in the second round: the pairs agree, medians of the parts would not.
        figures = Figures([sample(1, 2), sample(3, 6, round=2), sample(9, 9, round=3)])
        self.assertEqual(figures.ratio("a", aims.AUTO, "save", "seconds"), 0.5)
        self.assertEqual(figures.median("a", aims.AUTO, "save", "seconds"), 3)
        self.assertEqual(figures.count("a", aims.AUTO), 3)

    def test_report_shows_the_range_of_rounds(self):
        self.assertEqual(report.spread([3, 1, 2]), "2.00 (1.00–3.00)")
        self.assertEqual((report.spread([3]), report.spread([])), ("3.00", "–"))

    def test_share_against_and_overhead(self):
        figures = Figures([sample(1, 2), sample(3, 2, peer=aims.CP_B3SUM)])
        self.assertEqual(figures.share("a", aims.AUTO, "save"), 0.1)
        self.assertAlmostEqual(figures.against("a", "save", "seconds", aims.AUTO, aims.CP_B3SUM), 1 / 3)
        self.assertEqual(figures.overhead("a", aims.AUTO, "save"), -1)
        self.assertEqual(figures.peak((aims.AUTO,)), 50 << 20)
        self.assertIsNone(figures.peak(("nobody",)))


class Aims(unittest.TestCase):
    def row(self, samples, what, cores=2):
        rows = {row[0]: row[1:] for row in aims.evaluate(Figures(samples), cores)}
        return rows[what]

    def test_met_and_not_met(self):
        what = "save and sync ÷ cp and sync: a"
        self.assertEqual(self.row([sample(0.5, 1)], what), ("0.50", "0.50", "–", "–", "≤ 0.55", "met"))
        self.assertEqual(self.row([sample(0.6, 1)], what), ("0.60", "0.60", "–", "–", "≤ 0.55", "**not met**"))
        self.assertEqual(self.row([], what), ("–", "–", "–", "–", "≤ 0.55", "not measured in this run"))

    def test_what_the_least_work_misses_too_is_said(self):
        for what, least, peer in (
            ("save and sync ÷ cp and sync: a", aims.LEAST, None),
            ("save and sync ÷ cp and sync: b compressed", aims.LEAST_COMPRESSED, aims.COMPRESSED),
            ("save ÷ cp, without sync: a", aims.LEAST_UNSYNCED, aims.UNSYNCED),
        ):
            workload = what.partition(": ")[2][0]
            own = sample(3, 1, peer=peer or aims.AUTO, workload=workload)
            below, above = (sample(s, 1, peer=least, workload=workload) for s in (0.1, 2.5))
            self.assertEqual(self.row([own, below], what)[2::3], ("0.10", "**not met**"))
            self.assertEqual(self.row([own, above], what)[2::3], ("2.50", "**not met**, nor by the least work"))

    def test_what_is_met_at_its_fastest_is_said(self):
        # The shortest save beside the shortest `cp` of all, whichever it came after.
        samples = [sample(0.5, 2, peer=aims.UNSYNCED), sample(9, 1, peer=aims.UNSYNCED), sample(2, 0.8)]
        samples.append(sample(3, 3, peer=aims.UNSYNCED))
        what = "save ÷ cp, without sync: a"
        self.assertEqual(self.row(samples, what), ("1.00", "0.62", "–", "–", "≤ 0.85", "**not met**, but at its fastest"))
        self.assertEqual(self.row([sample(0.5, 1, bytes=99)], "identical re-save, new bytes: a")[1], "–")

    def test_what_writing_alone_misses_is_out_of_reach(self):
        samples = [sample(3, 1), sample(2.5, 1, peer=aims.LEAST), sample(2, 1, peer=aims.ALONE)]
        expected = ("3.00", "3.00", "2.50", "2.00", "≤ 0.55", "**not met**, nor by writing alone")
        self.assertEqual(self.row(samples, "save and sync ÷ cp and sync: a"), expected)

    def test_each_aim_is_of_the_peer_that_it_speaks_of(self):
        raw = {"peer": aims.RAW, "workload": "b"}
        self.assertEqual(self.row([sample(0.9, 1, **raw)], "save and sync ÷ cp and sync: b kept raw")[0], "0.90")
        self.assertEqual(self.row([sample(0.9, 1, **raw)], "save and sync ÷ cp and sync: b compressed")[0], "–")
        by_itself = [sample(0.9, 1, workload="b"), sample(0.3, 1, workload="c")]
        self.assertEqual(self.row(by_itself, "save and sync ÷ cp and sync: b compressed")[0], "–")
        self.assertEqual(self.row(by_itself, "save and sync ÷ cp and sync: c")[0], "0.30")
        # A save that waits for the medium is not compared with a `cp` that does not.
        without = "save ÷ cp, without sync: a"
        self.assertEqual(self.row([sample(0.9, 1)], without)[0], "–")
        self.assertEqual(self.row([sample(0.8, 1, peer=aims.UNSYNCED)], without), ("0.80", "0.80", "–", "–", "≤ 0.85", "met"))
        both = [sample(1, 2, peer=aims.RAW_UNSYNCED), sample(4, 2, peer=aims.CP_B3SUM)]
        self.assertEqual(self.row(both, "save ÷ cp then b3sum, without sync: a kept raw")[0], "0.25")
        both += [sample(6, 2, peer=aims.LEAST_UNSYNCED), sample(5, 2, peer=aims.ALONE_UNSYNCED)]
        digested = self.row(both, "save ÷ cp then b3sum, without sync: a kept raw")
        self.assertEqual(digested[:4], ("0.25", "0.25", "1.50", "1.25"))
        adopted = [sample(1, 2, peer=aims.STEP), sample(1, 5, peer=aims.LEAST, op="again")]
        self.assertEqual(self.row(adopted, "save by adoption, in a step ÷ cp: a")[0:3:2], ("0.50", "0.20"))
        clones = [sample(0.1, 10, peer=aims.CLONES, op="restore"), sample(9, 10, peer=aims.STEP, op="restore")]
        self.assertEqual(self.row(clones, "input of a step, by clones ÷ cp: a")[0], "0.01")

    def test_every_peer_that_an_aim_names_is_there(self):
        from bench.peers import PEERS

        names = {peer.name for peer in PEERS}
        self.assertLessEqual({*aims.MOVERS, aims.LEAST, aims.LEAST_COMPRESSED, aims.LEAST_UNSYNCED, aims.ALONE, aims.ALONE_UNSYNCED, aims.CLONES, aims.CP_B3SUM, aims.BUCKET, *aims.CLIENTS}, names)

    def test_the_aims_for_buckets_are_measured_alone(self):
        from bench import __main__ as program

        self.assertIn("bucket", program.PARTS)
        names = {aim.what.rpartition(": ")[2] for aim in aims.aims(2) if aim.what.startswith("bucket, ")}
        self.assertEqual(names, set(program.IN_BUCKETS))

    def test_at_least(self):
        what = "bucket, restore: the faster of s5cmd and rclone ÷ kale-agent: c"
        named = {"workload": "c", "op": "restore"}
        others = [sample(40, 1, peer=aims.CLIENTS[0], **named), sample(30, 1, peer=aims.CLIENTS[1], **named)]
        self.assertEqual(self.row([*others, sample(2, 1, peer=aims.BUCKET, **named)], what)[::5], ("15.00", "met"))
        self.assertEqual(
            self.row([*others, sample(5, 1, peer=aims.BUCKET, **named)], what)[::5], ("6.00", "**not met**")
        )

    def test_linear(self):
        def consumed(times):
            counts = {"few": 12, "some": 300, "many": 1200}
            return [sample(t, 1, workload="f", op=op, count=counts[op]) for op, t in zip(counts, times)]

        self.assertAlmostEqual(aims.slope(Figures(consumed([0.012, 0.3, 1.2]))), 1)
        self.assertGreater(aims.slope(Figures(consumed([0.012, 0.3, 5.0]))), 4)
        self.assertIsNone(aims.slope(Figures(consumed([0.012, 0.3]))))

    def test_memory_counts_the_cores(self):
        samples = [sample(1, 1, rss=100 << 20)]
        two = self.row(samples, "peak memory while moving data, 64 MiB + 8 MiB a core (2)")
        eight = self.row(samples, "peak memory while moving data, 64 MiB + 8 MiB a core (8)", 8)
        self.assertEqual((two, eight), (("100 MiB", "–", "–", "–", "≤ 80 MiB", "**not met**"), ("100 MiB", "–", "–", "–", "≤ 128 MiB", "met")))

    def test_every_aim_has_a_name_of_its_own_and_a_unit(self):
        every = aims.aims(8)
        self.assertEqual(len({aim.what for aim in every}), len(every))
        self.assertEqual({aim.unit for aim in every} - set(aims.UNITS), set())


class Report(unittest.TestCase):
    about = {
        "date": "2026-01-02",
        "machine": {"cpu": "CPU", "cores": 2, "memory_gib": 8, "kernel": "6.1", "file_system": "ext4"},
        "scale": 0.5,
        "rounds": 3,
        "seed": 1,
        "floor": 10 << 20,
        "versions": {"cp": "cp 9", "quiet": "", "kale-agent": "kale 1", "kale-agent raw": "kale 1"},
    }

    def test_has_figures_absences_and_faults(self):
        samples = [sample(0.5, 1, returned=3 << 29), sample(2, 1, op="restore", bytes=None, returned=0)]
        samples.append(sample(0.25, 1, op="again", bytes=0))
        text = report.render(self.about, samples, {"restic": "restic is not installed"}, ["a, borg: code 2"], "p.svg")
        row = "| kale-agent | 1 | 0.500 | 0.50 | 0.50 | 2.000 | 2.00 | 0.10 / 0.10 | 50 / 50 | 10.0 | 0.25 | 0.000 |"
        self.assertIn(row, text)
        self.assertIn("Not measured: restic: restic is not installed.", text)
        self.assertIn("- a, borg: code 2", text)
        self.assertIn("Not the full size", text)
        self.assertIn("While 1 of 2 commands ran, the machine gave memory back to its host, 2 GiB in all", text)
        self.assertEqual((text.count("- kale 1\n"), "- \n" in text), (1, False))

    def test_tables_have_as_many_cells_as_columns(self):
        versions = [sample(1, 1, workload="d", op=op) for op in ("save", "restore", "again", "version 2", "version 4")]
        python = [sample(1, 1, workload="py-a", peer=peer, op="save") for peer in (aims.PLAIN, aims.PYTHON)]
        others = [
            sample(1, 1, workload="startup", peer="true", op="run"),
            sample(1, 1, workload="f", op="few", count=12),
        ]
        text = report.render({**self.about, "scale": 1}, [*versions, *python, *others], {}, [])
        tables, cells = 0, None
        for line in text.splitlines():
            if not line.startswith("|"):
                cells = None
                continue
            tables += cells is None
            cells = cells or line.count("|")
            self.assertEqual(line.count("|"), cells, line)
        self.assertEqual(tables, 5)
        self.assertNotIn("Not the full size", text)

    def test_name_of_the_machine(self):
        self.assertEqual(machine.slug({"cpu": "Intel Xeon Processor", "cores": 2}), "2-cores-intel-xeon")


class Choice(unittest.TestCase):
    def test_a_report_replaces_none(self):
        from bench import __main__ as program

        with tempfile.TemporaryDirectory() as folder:
            names = []
            for _ in range(3):
                names.append(program.unused(Path(folder), "day"))
                (Path(folder) / f"{names[-1]}.md").touch()
        self.assertEqual(names, ["day", "day-2", "day-3"])

    def test_a_name_or_a_beginning(self):
        from bench.__main__ import named

        names = ["cp", "cp then b3sum", "kale-agent", "kale-agent raw"]
        self.assertEqual(named(names, []), set(names))
        self.assertEqual(named(names, ["cp"]), {"cp"})
        self.assertEqual(named(names, ["kale", "cp t"]), {"kale-agent", "kale-agent raw", "cp then b3sum"})
        self.assertEqual(named(names, ["none"]), set())


class Measuring(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.place = Place(folder.name)
        self.meter = Meter(self.place)
        self.addCleanup(self.meter.close)

    def test_memory_is_that_of_the_command_and_not_of_the_harness(self):
        ballast = bytearray(200 << 20)
        self.assertLess(self.meter.run(Command(["true"]))["rss"], 64 << 20)
        del ballast
        hungry = Command([sys.executable, "-I", "-S", "-c", "bytearray(b'x' * (100 << 20))"])
        self.assertGreater(self.meter.run(Command(["sh", "-c", '"$@"; true', "sh", *hungry.argv]))["rss"], 100 << 20)

    def test_a_failure_says_why(self):
        with self.assertRaisesRegex(Failed, "code 3: broken"):
            self.meter.run(Command(["sh", "-c", "echo broken >&2; exit 3"]))
        with self.assertRaisesRegex(Failed, "code 127"):
            self.meter.run(Command(["no-such-program"]))

    def test_what_takes_too_long_is_ended_with_its_children(self):
        with self.assertRaisesRegex(Failed, "ended after"):
            self.meter.run(Command(["sh", "-c", "sleep 60 & echo $! > child; wait"]), timeout=0.5)
        child = int((self.place.root / "child").read_text())
        # Gone, or not yet collected by whoever inherited it.
        status = Path(f"/proc/{child}/stat")
        self.assertTrue(not status.exists() or status.read_text().split()[2] == "Z")
        self.meter.run(Command(["true"]))

    def test_closing_ends_the_command(self):
        import threading

        ended = []

        def run():
            try:
                self.meter.run(Command(["sh", "-c", "echo $$ > child; exec sleep 60"]))
            except (Failed, ValueError) as error:
                ended.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        child = self.place.root / "child"
        while not child.exists() or not child.read_text().strip():
            thread.join(0.01)
        self.meter._spawner.terminate()
        thread.join(10)
        self.assertEqual(len(ended), 1)
        self.assertFalse(Path(f"/proc/{child.read_text().strip()}").exists())

    def test_clock_and_report_take_the_place_of_the_end(self):
        clock = self.place.root / "clock"
        script = 'date +%s.%N > "$1"; sleep 0.4'
        cost = self.meter.timed(Command(["sh", "-c", script, "sh", clock], clock=clock), 1)
        self.assertLess(cost["seconds"], 0.4)
        self.assertGreater(cost["wall"], 0.4)
        path = self.place.root / "report"
        cost = self.meter.timed(Command(["sh", "-c", 'echo \'{"seconds": 7}\' > "$1"', "sh", path], report=path), 1)
        self.assertEqual(cost["seconds"], 7)
        self.assertGreater(cost["synced"], 7)

    def test_trash_of_many_files_stays_until_the_end(self):
        for name, count in (("few", 3), ("many", 1200)):
            folder = self.place.fresh(name)
            for number in range(count):
                (folder / str(number)).touch()
            self.place.discard(folder)
            self.assertFalse(folder.exists())
        self.assertEqual(len(list(self.place.trash.iterdir())), 1)
        self.assertTrue(self.place.empty(), "many files were deleted")
        self.assertFalse(any(self.place.trash.iterdir()))
        self.assertFalse(self.place.empty())

    def test_bytes_of_a_tree_count_links_once(self):
        folder = self.place.fresh("tree")
        (folder / "below").mkdir()
        (folder / "below" / "one").write_bytes(b"12345")
        os.link(folder / "below" / "one", folder / "other")
        self.assertEqual(tree_bytes(folder), 5)


class Workloads(unittest.TestCase):
    scale = 0.0005

    def make(self, name):
        missing = [library for library in LIBRARIES[name] if importlib.util.find_spec(library) is None]
        if missing:
            raise skip(f"workload {name} needs {', '.join(missing)}")
        from bench import workloads

        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        return lambda seed, where: workloads.make(name, Path(folder.name, where), seed, self.scale)

    def digests(self, workload):
        found = {}
        for version, path in {"1": workload.source, **workload.versions}.items():
            files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
            for file in files:
                found[version, file.relative_to(path.parent)] = hashlib.sha256(file.read_bytes()).hexdigest()
        return found

    def check(self, name):
        make = self.make(name)
        first = self.digests(make(1, "first"))
        self.assertEqual(first, self.digests(make(1, "second")))
        self.assertNotEqual(first, self.digests(make(2, "third")))
        return make(1, "first"), first

    def test_a(self):
        workload, _ = self.check("a")
        import numpy

        self.assertEqual(numpy.load(workload.source).dtype, numpy.float32)

    def test_b(self):
        workload, _ = self.check("b")
        text = {v: (p / "trades.csv").read_text().splitlines() for v, p in self.versions(workload).items()}
        changed = sum(one != other for one, other in zip(text["1"], text["2"]))
        self.assertEqual(len(text["2"]), len(text["1"]) + (len(text["1"]) - 1) // 50)
        self.assertTrue(0 < changed < len(text["1"]))

    def test_c(self):
        _, digests = self.check("c")
        names = {name for version, name in digests if version == "1"}
        changed = [name for name in names if digests["1", name] != digests["2", name]]
        self.assertEqual(len(changed), -(-len(names) // 50))
        self.assertEqual(names, {name for version, name in digests if version == "2"})

    def test_d(self):
        workload, _ = self.check("d")
        tensors = {version: self.checkpoint(path) for version, path in self.versions(workload).items()}
        self.assertEqual(len(tensors["1"]), 153)
        changed = [name for name, content in tensors["1"].items() if tensors["2"][name] != content]
        self.assertEqual(len(changed), 9)
        self.assertEqual(list(tensors["4"])[1:], list(tensors["1"]))
        self.assertTrue(all(tensors["4"][name] == content for name, content in tensors["1"].items()))

    def test_e(self):
        import pickle

        workload, _ = self.check("e")
        self.assertGreaterEqual(pickle.loads(workload.source.read_bytes()).n_estimators, 1)

    @staticmethod
    def versions(workload):
        return {"1": workload.source, **workload.versions}

    @staticmethod
    def checkpoint(path):
        content = path.read_bytes()
        start = 8 + int.from_bytes(content[:8], "little")
        header = json.loads(content[8:start])
        return {name: content[slice(*(start + n for n in one["data_offsets"]))] for name, one in header.items()}


class WholeRun(unittest.TestCase):
    def test_saves_restores_and_reports(self):
        if not AGENT:
            raise skip("KALE_AGENT_BIN names no binary")
        missing = [name for name in ("numpy", "matplotlib") if importlib.util.find_spec(name) is None]
        if missing:
            raise skip(f"a whole run needs {', '.join(missing)}")
        import subprocess

        with tempfile.TemporaryDirectory() as work:
            argv = [sys.executable, "-m", "bench", "--agent", AGENT, "--work", work, "--workloads", "c"]
            argv += ["--peers", "cp,kale", "--rounds", "1", "--scale", "0.002"]
            ended = subprocess.run(
                argv, cwd=Path(__file__).resolve().parents[1], capture_output=True, text=True, timeout=300
            )
            self.assertEqual(ended.returncode, 0, ended.stderr)
            raw = json.loads(next(Path(work).glob("*.json")).read_text())
            self.assertEqual(
                {(s["peer"], s["op"]) for s in raw["samples"] if s["peer"] == aims.AUTO},
                {(aims.AUTO, op) for op in ("save", "restore", "again", "version 2")},
            )
            text = next(Path(work).glob("*.md")).read_text()
            self.assertIn("| kale-agent raw | 1 |", text)
            self.assertNotIn(work, text)


if __name__ == "__main__":
    unittest.main()
