"""Columns of text that repeats itself, to Arrow: by where its strings lie, so that few of them are read."""

from __future__ import annotations

import concurrent.futures
import ctypes
import sys
from typing import Any, Dict, List

from .memory import processors

# Shorter columns are converted as quickly one string after the other.
_ROWS = 10_000
# So many rows at the front tell whether a column repeats itself, and so many rows a string have to have.
_SAMPLE, _REPEATS = 4096, 4


def text_columns(columns: List[Any]) -> Dict[int, Any]:
    """Arrow arrays by place of those columns of objects that are strings without gaps, few of them and often.

    The same arrays that PyArrow makes, which looks at every string. What is not here may still be text.
    """
    places = [place for place, column in enumerate(columns) if column.dtype == object and len(column) >= _ROWS]
    if not places or sys.implementation.name != "cpython":
        return {}
    objects = [columns[place].to_numpy() for place in places]
    try:
        # Most of it is done without the interpreter's lock.
        with concurrent.futures.ThreadPoolExecutor(min(len(places), processors())) as threads:
            arrays = list(threads.map(_text, objects))
    except RuntimeError:
        arrays = list(map(_text, objects))  # There are no more threads, as at the end of the interpreter.
    return {place: array for place, array in zip(places, arrays) if array is not None}


def _text(objects: Any) -> Any:
    """A column as an Arrow array; None where it does not repeat itself or is not all text."""
    np, pd = sys.modules["numpy"], sys.modules["pandas"]
    import pyarrow as pa

    if not objects.flags.c_contiguous:
        return None
    addresses = np.frombuffer((ctypes.c_ssize_t * len(objects)).from_address(objects.ctypes.data), np.intp)
    if len(np.unique(addresses[:_SAMPLE])) * _REPEATS > _SAMPLE:
        return None
    numbers, distinct = pd.factorize(addresses)
    if len(distinct) * _REPEATS > len(objects):
        return None
    strings = [objects[place] for place in _first(np, numbers, len(distinct))]
    # Only str itself: of a type that is derived from it an Arrow file keeps nothing. An address that another thread
    # has filled anew in the meantime is nobody's string.
    if any(type(one) is not str or id(one) != address for one, address in zip(strings, distinct.tolist())):
        return None
    try:
        return pa.array(strings, pa.string()).take(pa.array(numbers))
    except pa.ArrowException:
        return None  # Too long for one array.
    except UnicodeEncodeError:
        return None


def _first(np: Any, numbers: Any, count: int) -> List[int]:
    """Where each number from 0 to below ``count`` is first, for numbers that are given in the order of appearance."""
    places: List[int] = []
    start, step = 0, 1 << 16
    while len(places) < count:
        some = numbers[start : start + step]
        fresh, at = np.unique(some[some >= len(places)], return_index=True)
        places += (start + np.flatnonzero(some >= len(places))[at]).tolist()
        start += step
    return places
