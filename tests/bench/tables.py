"""Workload b: one table of made trades, as CSV and as Parquet, and its later version."""

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.csv
import pyarrow.parquet

ROWS = 8_150_000
CHUNK = 500_000
SYMBOLS = 300
# A cluster of edited rows in each so many rows: 1 %.
CLUSTER, EVERY = 2_500, 250_000
START_MICROSECONDS = 1_700_000_000_000_000


def chunk(seed, number, rows, edited):
    """The table's rows from `number * CHUNK` on; the same numbers give the same rows."""
    random = np.random.default_rng([seed, 2, number])
    index = np.arange(number * CHUNK, number * CHUNK + rows)
    symbol = random.zipf(1.4, rows) % SYMBOLS
    price = 20.0 + symbol + np.round(np.cumsum(random.normal(0, 0.05, rows)), 2)
    quantity = random.geometric(0.005, rows)
    score = random.normal(0, 1, rows)
    spread = random.exponential(0.05, rows)
    account = random.integers(0, 1 << 32, rows, dtype=np.uint32)
    gaps = random.integers(0, 4000, rows)
    if edited:
        fresh = np.random.default_rng([seed, 3, number])
        within = index % EVERY < CLUSTER
        price = np.where(within, np.round(price * fresh.uniform(0.99, 1.01, rows), 2), price)
    names = pa.array([f"SYM{n:03}" for n in range(SYMBOLS)])
    venues = pa.array(["XNAS", "XNYS", "ARCX", "BATS"])
    return pa.table(
        {
            "trade_id": index,
            "time": pa.array(START_MICROSECONDS + index * 4000 + gaps, pa.timestamp("us")),
            "symbol": names.take(pa.array(symbol)),
            "venue": venues.take(pa.array(symbol % 4)),
            "price": np.round(price, 2),
            "quantity": quantity,
            "side": pa.array(["buy", "sell"]).take(pa.array(random.integers(0, 2, rows))),
            "score": score,
            "spread": spread,
            "account": account,
        }
    )


def write(folder, seed, rows, edited):
    """Writes both files, chunk by chunk."""
    folder.mkdir(parents=True)
    schema = chunk(seed, 0, 1, False).schema
    with (
        pa.csv.CSVWriter(folder / "trades.csv", schema) as text,
        pa.parquet.ParquetWriter(folder / "trades.parquet", schema, compression="snappy") as parquet,
    ):
        for number in range(-(-rows // CHUNK)):
            # Always whole chunks, cut afterwards: so a longer table begins with the same rows.
            table = chunk(seed, number, CHUNK, edited).slice(0, rows - number * CHUNK)
            shorter = table
            for column, places in ((7, 8), (8, 6)):
                name = table.column_names[column]
                shorter = shorter.set_column(column, name, pa.compute.round(table[name], places))
            text.write_table(shorter)
            parquet.write_table(table, row_group_size=CHUNK)


def make_tables(folder, seed, scale):
    """Writes the table, and it with 1 % of its rows edited in clusters and 2 % appended."""
    rows = max(1000, int(ROWS * scale))
    paths = {version: folder / version / "tables" for version in ("1", "2")}
    write(paths["1"], seed, rows, False)
    write(paths["2"], seed, rows + rows // 50, True)
    return paths
