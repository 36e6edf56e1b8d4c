"""The benchmark harness: kale-agent beside its peers, every figure a ratio to `cp` of the same bytes in the same run."""
