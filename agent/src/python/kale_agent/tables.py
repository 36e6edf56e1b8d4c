"""Tables to Arrow files: pandas, Polars and PyArrow."""

from __future__ import annotations

import io
import json
import sys
from typing import Any, Dict, Optional

from .memory import Parts
from .text import text_columns


def encode_arrow(name: str, obj: Any, parts: Parts) -> Optional[str]:
    pd, pl, pa = sys.modules.get("pandas"), sys.modules.get("polars"), sys.modules.get("pyarrow")
    if pd is not None and type(obj) in (getattr(pd, "DataFrame", None), getattr(pd, "Series", None)):
        return _encode_pandas(obj, parts)
    if pl is not None and type(obj) in (getattr(pl, "DataFrame", None), getattr(pl, "Series", None)):
        return _encode_polars(pl, obj, parts)
    if pa is not None and type(obj) in (getattr(pa, "Table", None), getattr(pa, "RecordBatch", None)):
        return _write_arrow(obj, parts) and f"arrow/pyarrow.{type(obj).__name__}"
    return None


def _write_arrow(table: Any, parts: Parts) -> bool:
    import pyarrow as pa
    import pyarrow.ipc

    if isinstance(table, pa.Table):
        table = table.unify_dictionaries()
    try:
        with pa.ipc.new_file(parts.add(""), table.schema) as writer:
            writer.write(table)
    except (pa.ArrowException, TypeError, ValueError):
        return False
    return True


def _encode_polars(pl: Any, obj: Any, parts: Parts) -> Optional[str]:
    frame = obj.to_frame() if type(obj) is pl.Series else obj
    try:
        with io.BytesIO() as empty:
            frame.clear().write_ipc(empty, compression="uncompressed")
            empty.seek(0)
            if pl.read_ipc(empty).schema != frame.schema:
                return None
        frame.write_ipc(parts.add(""), compression="uncompressed")
    except Exception:  # Polars has many kinds of errors for what the format cannot hold.
        return None
    return f"arrow/polars.{type(obj).__name__}"


def _encode_pandas(obj: Any, parts: Parts) -> Optional[str]:
    try:
        import pyarrow as pa
    except ImportError:
        return None
    pd = sys.modules["pandas"]
    series = type(obj) is pd.Series
    if obj.attrs or not obj.flags.allows_duplicate_labels:
        return None
    if series and not (obj.name is None or type(obj.name) is str):
        return None
    frame = obj.to_frame(name="values") if series else obj
    # Without rows an Arrow file drops categories, without columns the index; names of mixed types become text.
    if not frame.size or len(set(map(type, frame.columns))) > 1 or not _arrow_keeps_index(pd, frame.index):
        return None
    columns = [frame.iloc[:, place] for place in range(len(frame.columns))]
    texts = text_columns(columns)
    if not all(place in texts or _arrow_keeps_column(pd, column) for place, column in enumerate(columns)):
        return None
    try:
        table = _with_texts(pa, frame, texts) if texts else pa.Table.from_pandas(frame)
        empty = table.slice(0, 0).to_pandas()
    except Exception:  # Whatever the conversion stumbles over, a pickle holds it.
        return None
    if any(isinstance(field.type, pa.BaseExtensionType) for field in table.schema):
        return None
    same = (
        list(empty.dtypes) == list(frame.dtypes)
        and type(empty.columns) is type(frame.columns)
        and empty.columns.equals(frame.columns)
        and list(map(type, empty.columns)) == list(map(type, frame.columns))
        and empty.columns.dtype == frame.columns.dtype
        and list(empty.columns.names) == list(frame.columns.names)
        and _same_index_kind(pd, empty.index, frame.index)
    )
    if not same:
        return None
    if series:
        table = table.replace_schema_metadata({**table.schema.metadata, b"kale.series": json.dumps(obj.name).encode()})
    return _write_arrow(table, parts) and f"arrow/pandas.{type(obj).__name__}" or None


def _with_texts(pa: Any, frame: Any, texts: Dict[int, Any]) -> Any:
    """The table that ``pa.Table.from_pandas`` makes, with columns that are there already."""
    others = {place: frame.iloc[:, place] for place in range(len(frame.columns)) if place not in texts}
    # Neither copies what it is made of, as picking columns from the frame would.
    rest = pa.Table.from_pandas(type(frame)(others, frame.index, copy=False))
    # One row has all that there is to say about the columns, but not how long an index is that is kept as numbers.
    schema = pa.Table.from_pandas(frame.iloc[:1]).schema
    about = json.loads(schema.metadata[b"pandas"])
    about["index_columns"] = json.loads(rest.schema.metadata[b"pandas"])["index_columns"]
    schema = schema.with_metadata({**schema.metadata, b"pandas": json.dumps(about).encode("utf-8")})
    left = iter(rest.columns)
    return pa.Table.from_arrays([texts[at] if at in texts else next(left) for at in range(len(schema))], schema=schema)


def _arrow_keeps_column(pd: Any, column: Any) -> bool:
    # In a column of objects anything may hide; only text without gaps is known to come back.
    return column.dtype != object or pd.api.types.infer_dtype(column, skipna=False) == "string"


def _arrow_keeps_index(pd: Any, index: Any) -> bool:
    if isinstance(index, pd.MultiIndex):
        return all(_arrow_keeps_column(pd, index.get_level_values(level)) for level in range(index.nlevels))
    return getattr(index, "freq", None) is None and _arrow_keeps_column(pd, index)


def _same_index_kind(pd: Any, one: Any, other: Any) -> bool:
    if type(other) is pd.RangeIndex:
        return True  # Kept in the schema as numbers, which a slice without rows drops.
    if type(one) is not type(other) or list(one.names) != list(other.names):
        return False
    dtypes = [list(index.dtypes) if isinstance(index, pd.MultiIndex) else [index.dtype] for index in (one, other)]
    return dtypes[0] == dtypes[1]
