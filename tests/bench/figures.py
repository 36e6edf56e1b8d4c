"""Medians and ratios of samples: plain arithmetic, nothing else.

A sample is a dict: `workload`, `peer`, `op`, `round`, what was measured (`seconds`, `synced`, `cpu`, `rss`, `bytes`),
`size`, and `base`: the same measures of what ran right before it to compare with, `cp` mostly, where there was one.
"""

from statistics import median


def middle(values):
    """The median of what is there, or None of nothing."""
    values = [value for value in values if value is not None]
    return median(values) if values else None


def divided(above, below):
    """A quotient, or None where either is missing or the divisor is nought."""
    return None if above is None or not below else above / below


MEASURED = ("seconds", "synced", "whole", "resolved", "cpu")


def shortest(samples):
    """The shortest of each time that these samples have."""
    found = {time: [s[time] for s in samples if s.get(time) is not None] for time in MEASURED}
    return {time: min(values) for time, values in found.items() if values}


class Figures:
    """Answers questions about all samples of a run."""

    def __init__(self, samples):
        self.samples = samples

    def fastest(self):
        """The same with one sample for all of a peer's rounds: the shortest times, beside the shortest of what ran before any.

        On a machine whose cores and memory are not its own alone a median is the neighbours', too. What `cp` took at
        best is of many more samples than what a peer took, so ratios are rather too high than too low.
        """
        groups, bases = {}, {}
        for sample in self.samples:
            groups.setdefault((sample["workload"], sample["peer"], sample["op"]), []).append(sample)
            if "base" in sample:
                bases.setdefault(sample["workload"], []).append(sample["base"])
        best = {workload: shortest(each) for workload, each in bases.items()}
        one = [{**group[0], **shortest(group)} for group in groups.values()]
        return Figures([{**s, "base": best[s["workload"]]} if "base" in s else s for s in one])

    def of(self, workload, peer, op):
        """The samples of one peer and one operation, in the order they were taken."""
        return [s for s in self.samples if (s["workload"], s["peer"], s["op"]) == (workload, peer, op)]

    def median(self, workload, peer, op, measure):
        """The median of one measure, or None if it was not taken."""
        return middle(s.get(measure) for s in self.of(workload, peer, op))

    def ratios(self, workload, peer, op, measure):
        """The ratios to what ran right before each sample, where there are any."""
        found = (divided(s.get(measure), s["base"].get(measure)) for s in self.of(workload, peer, op) if "base" in s)
        return [one for one in found if one is not None]

    def ratio(self, workload, peer, op, measure):
        """The median of those ratios."""
        return middle(self.ratios(workload, peer, op, measure))

    def share(self, workload, peer, op):
        """New bytes as a share of what was saved."""
        return middle(divided(s.get("bytes"), s.get("size")) for s in self.of(workload, peer, op))

    def against(self, workload, op, measure, one, other):
        """One peer's ratio to what ran right before it, divided by another's."""
        return divided(self.ratio(workload, one, op, measure), self.ratio(workload, other, op, measure))

    def overhead(self, workload, peer, op):
        """The median of the seconds beyond those of what ran right before each sample."""
        return middle(s["seconds"] - s["base"]["seconds"] for s in self.of(workload, peer, op) if "base" in s)

    def peak(self, peers, ops=None):
        """The highest peak memory of these peers in any workload."""
        seen = [
            s["rss"] for s in self.samples if s["peer"] in peers and s.get("rss") and (ops is None or s["op"] in ops)
        ]
        return max(seen, default=None)

    def workloads(self):
        """The workloads that have samples, in the order they came."""
        return list(dict.fromkeys(s["workload"] for s in self.samples))

    def peers(self, workload):
        """The peers that have samples of a workload, in the order they came."""
        return list(dict.fromkeys(s["peer"] for s in self.samples if s["workload"] == workload))

    def ops(self, workload):
        """The operations that have samples of a workload, in the order they came."""
        return list(dict.fromkeys(s["op"] for s in self.samples if s["workload"] == workload))

    def count(self, workload, peer):
        """How many rounds a peer has of a workload."""
        return len({s["round"] for s in self.samples if (s["workload"], s["peer"]) == (workload, peer)})
