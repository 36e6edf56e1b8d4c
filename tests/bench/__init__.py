"""The benchmark harness: kale-agent beside its peers, figures as ratios to `cp` of the same bytes in the same run."""
