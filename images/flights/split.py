"""Splits the flights by month, and says how many models are to be trained: one a month."""

import os
from pathlib import Path

import kale_agent
import pandas as pd

flights = pd.read_parquet(os.environ["KALE_IN_FLIGHTS"])
shards = Path(os.environ["KALE_OUT_SHARDS"])
shards.mkdir(exist_ok=True)

months = list(flights.groupby("month"))
for month, rows in months:
    rows.reset_index(drop=True).to_parquet(shards / f"{month:02}.parquet", engine="pyarrow", index=False)
    print(f"month {month:2}: {len(rows):6,} flights")

# The number of shards of `train` is committed together with this step's outputs.
kale_agent.fan_out("train", len(months))
