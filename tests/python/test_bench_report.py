"""What the benchmark makes of samples: its arithmetic, its aims, its report."""

import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import aims, machine, report  # noqa: E402
from bench.figures import Figures, divided, middle  # noqa: E402


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


if __name__ == "__main__":
    unittest.main()
