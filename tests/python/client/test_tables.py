"""Tables of pandas, PyArrow and Polars."""

import datetime
import hashlib
import math
import sys
import unittest
from unittest import mock

from .stand_in import InStep, kale_agent, np, pa, pd, pl


@unittest.skipIf(pd is None or pa is None, "no pandas with pyarrow")
class Frames(InStep):
    def frame(self):
        return pd.DataFrame(
            {
                "i": [1, 2, 3],
                "f": [0.5, math.nan, 2],
                "b": [True, False, True],
                "s": ["a", "é", ""],
                "t": pd.to_datetime(["2024-01-01", None, "2024-03-01"]),
                "c": pd.Categorical(["x", None, "x"], ["y", "x"], ordered=True),
                "z": pd.to_datetime(["2024-01-01"] * 3).tz_localize("Europe/Berlin"),
                "n": pd.array([1, None, 3], dtype="Int64"),
            }
        )

    def test_frames_keep_types_and_index(self):
        frame = self.frame()
        named = frame.set_index(pd.Index([10, 20, 30], name="id"))
        text = frame.set_index(pd.Index(["a", "b", "c"]))
        multi = frame.set_index([pd.Index([1, 1, 2], name="one"), pd.Index([0.5, 1, 2], name="two")])
        stepped = frame.set_index(pd.RangeIndex(5, 11, 2, name="r"))
        columns = pd.DataFrame(np.arange(6).reshape(2, 3), columns=[10, 20, 30])
        for obj in [frame, named, text, multi, stepped, columns]:
            back = self.there_and_back(obj, "arrow/pandas.DataFrame")
            pd.testing.assert_frame_equal(
                back, obj, check_column_type="exact", check_index_type="exact", check_freq=True
            )

    def test_series(self):
        for obj in [pd.Series([1, 2], name="n"), pd.Series([0.5], index=["a"]), pd.Series(["x"], name="values")]:
            back = self.there_and_back(obj, "arrow/pandas.Series")
            pd.testing.assert_series_equal(back, obj)

    def test_what_arrow_would_change_is_pickled(self):
        frame = self.frame()
        daily = pd.DataFrame({"a": [1, 2]}, index=pd.date_range("2024-01-01", periods=2, freq="D"))
        noted = pd.DataFrame({"a": [1]})
        noted.attrs["unit"] = "m"
        objects = [
            pd.DataFrame({"a": pd.Series([(1, 2), {"x": 1}], dtype=object)}),
            pd.DataFrame({"a": pd.Series(["x", None], dtype=object)}),
            pd.DataFrame({"a": pd.period_range("2024-01", periods=2, freq="M")}),
            pd.DataFrame({"a": [1 + 2j]}),
            daily,
            noted,
            pd.DataFrame({"a": pd.arrays.SparseArray([0, 1])}),
            pd.DataFrame(index=[1, 2]),
            pd.DataFrame([[1, 2]], columns=["a", "a"]),
            pd.DataFrame([[1, 2]], columns=[1, "a"]),
            frame.iloc[:0],
        ]
        for obj in objects:
            back = self.there_and_back(obj, "pickle")
            pd.testing.assert_frame_equal(back, obj)
            self.assertEqual(back.attrs, obj.attrs)
        self.assertEqual(self.there_and_back(pd.Series([1], name=("a", 1)), "pickle").name, ("a", 1))

    def repeated(self, rows=40_000):
        """A frame whose strings are few and come often, as they are after reading a file."""
        words = [sys.intern(word) for word in ("buy", "", "é", "sell")]
        late = ["x"] * (rows - 1) + ["only in the last row"]
        text = [words[row % 4] for row in range(rows)]
        frame = pd.DataFrame({"n": np.arange(rows), "s": text, "f": np.arange(rows) / 2, "l": late})
        return frame.astype({"s": object, "l": object})

    def test_text_that_repeats_itself_is_stored_as_the_same_bytes(self):
        frame = self.repeated()
        rows = len(frame)
        frames = [
            frame,
            frame[["s"]],
            frame[["s", "l"]].set_axis([5, 7], axis=1),
            frame.set_index(pd.RangeIndex(3, 3 + 2 * rows, 2, name="r")),
            frame.set_index("s"),
            frame.set_index(pd.Index([1] * rows)),
            frame.set_index(["n", "l"]),
            frame.iloc[::2],
        ]
        for obj in frames:
            back = self.there_and_back(obj, "arrow/pandas.DataFrame")
            pd.testing.assert_frame_equal(back, obj, check_column_type="exact", check_index_type="exact")
            by_the_library = pa.BufferOutputStream()
            table = pa.Table.from_pandas(obj)
            with pa.ipc.new_file(by_the_library, table.schema) as writer:
                writer.write(table)
            self.assertEqual(self.digest(), hashlib.sha256(by_the_library.getvalue()).hexdigest())
        found = kale_agent.text.text_columns([frame[name] for name in frame])
        self.assertEqual(sorted(found), [1, 3], "by where the strings lie")

    def test_one_value_among_much_text_that_arrow_would_change(self):
        for odd in (None, math.nan, 1, b"x", np.str_("x"), "\ud800"):
            frame = self.repeated()
            frame.loc[30_000, "s"] = odd
            self.assertEqual(list(kale_agent.text.text_columns([frame["s"]])), [])
            kale_agent.save("x", frame)
            back = kale_agent.load("x")
            pd.testing.assert_frame_equal(back, frame)
            if type(odd) is not np.str_:
                self.assertIs(type(back.loc[30_000, "s"]), type(odd))
                self.assertTrue(self.agent.kept["x"]["format"].startswith("pickle"))

    def test_text_that_does_not_repeat_itself_is_left_to_the_library(self):
        for text in ([str(row) for row in range(20_000)], ["x"] * 10_000 + [str(row) for row in range(10_000)], ["x"]):
            column = pd.Series(text, dtype=object)
            self.assertEqual(kale_agent.text.text_columns([column]), {})
            self.assertEqual(self.there_and_back(column.to_frame("a"), "arrow/pandas.DataFrame")["a"].tolist(), text)

    def test_writing_to_a_loaded_frame_changes_no_file(self):
        wide = pd.DataFrame(
            {
                "f": np.arange(50_000.0),
                "i": np.arange(50_000),
                "g": np.arange(50_000.0),
                "z": pd.to_datetime(np.arange(50_000)).tz_localize("UTC"),
            }
        )
        back = self.there_and_back(wide, "arrow/pandas.DataFrame")
        before = self.digest()
        for name in ("f", "i", "g"):
            back.loc[0, name] = -1
        back.loc[0, "z"] = pd.Timestamp("2000-01-01", tz="UTC")
        back.iloc[1, 1] = -2
        self.assertEqual(back.loc[0, ["f", "i", "g"]].tolist(), [-1, -1, -1])
        self.assertEqual(self.digest(), before)
        series = self.there_and_back(pd.Series(np.arange(50_000.0)), "arrow/pandas.Series")
        before = self.digest()
        series.iloc[0] = -1
        self.assertEqual(self.digest(), before)

    def test_without_pyarrow(self):
        frame = pd.DataFrame(np.arange(2000.0).reshape(1000, 2))  # No text: pandas 3 keeps that in pyarrow.
        with mock.patch.dict(sys.modules, {"pyarrow": None}):
            kale_agent.save("x", frame)
        self.assertEqual(self.agent.kept["x"]["format"], "pickle+buffers")
        pd.testing.assert_frame_equal(kale_agent.load("x"), frame)


@unittest.skipIf(pa is None, "no pyarrow")
class ArrowTables(InStep):
    def test_tables_and_batches(self):
        table = pa.table({"a": [1, None], "b": [["x"], []], "d": pa.array(["u", "v"]).dictionary_encode()})
        table = table.replace_schema_metadata({"k": "v"})
        back = self.there_and_back(table, "arrow/pyarrow.Table")
        self.assertTrue(back.equals(table, check_metadata=True))
        batch = table.to_batches()[0]
        self.assertTrue(self.there_and_back(batch, "arrow/pyarrow.RecordBatch").equals(batch))
        self.assertEqual(self.there_and_back(table.schema.empty_table(), "arrow/pyarrow.Table").num_rows, 0)

    def test_chunks_with_dictionaries_of_their_own(self):
        chunks = [pa.array([word]).dictionary_encode() for word in ("u", "v")]
        table = pa.table({"d": pa.chunked_array(chunks)})
        self.assertEqual(self.there_and_back(table, "arrow/pyarrow.Table").to_pydict(), {"d": ["u", "v"]})


@unittest.skipIf(pl is None, "no Polars")
class PolarsFrames(InStep):
    def test_frames_and_series(self):
        frame = pl.DataFrame(
            {
                "a": [1, None],
                "s": ["x", "é"],
                "l": [[1.5], []],
                "t": [datetime.datetime(2024, 1, 1), None],
                "c": pl.Series(["x", "y"], dtype=pl.Categorical),
                "e": pl.Series(["x", None], dtype=pl.Enum(["y", "x"])),
            }
        )
        back = self.there_and_back(frame, "arrow/polars.DataFrame")
        self.assertEqual(back.schema, frame.schema)
        self.assertTrue(back.equals(frame))
        series = pl.Series("n", [1.5, None])
        back = self.there_and_back(series, "arrow/polars.Series")
        self.assertEqual(back.name, "n")
        self.assertTrue(back.equals(series))
        self.assertEqual(self.there_and_back(frame.clear(), "arrow/polars.DataFrame").schema, frame.schema)

    def test_writing_to_a_loaded_frame_changes_no_file(self):
        back = self.there_and_back(pl.DataFrame({"a": list(range(1000))}), "arrow/polars.DataFrame")
        before = self.digest()
        back[0, "a"] = -1
        self.assertEqual((back[0, "a"], self.digest()), (-1, before))
