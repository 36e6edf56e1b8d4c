"""Files to objects, from paths or from maps."""

from __future__ import annotations

import collections
import io
import json
import math
import os
import pathlib
import pickle
from typing import Any, BinaryIO, Callable, Dict, Optional

from .errors import DAMAGED, USAGE, KaleError
from .memory import map_path
from .tensors import numpy_tensors, torch_tensors

# Below this, reading a file is cheaper than mapping it.
_MAP_FROM_BYTES = 64 << 10


class NeedsPath(Exception):
    """Maps are of no use for this artifact here: its path is what is given."""


class Content:
    """The files of an artifact: as paths, or as maps by name; an artifact that is one file has the empty name."""

    def __init__(self, path: Optional[str], maps: Optional[Dict[str, memoryview]]) -> None:
        self.path = path
        self._maps = maps

    @classmethod
    def of_path(cls, path: str) -> Content:
        return cls(path, None)

    @classmethod
    def of_maps(cls, maps: Dict[str, memoryview]) -> Content:
        return cls(None, maps)

    @property
    def is_folder(self) -> bool:
        return "" not in self._maps if self._maps is not None else os.path.isdir(self.path or "")

    def place(self, name: str = "") -> str:
        """The path of a file; only for content that has one."""
        assert self.path, "content of maps has no paths"
        return os.path.join(self.path, name) if name else self.path

    def memory(self, name: str = "") -> memoryview:
        """A file's bytes, which can be written to without changing it."""
        if self._maps is not None:
            return self._maps[name]
        path = self.place(name)
        return map_path(path) if os.path.getsize(path) >= _MAP_FROM_BYTES else memoryview(bytearray(self.read(name)))

    def open(self, name: str = "") -> BinaryIO:
        """A file, for reading from front to end."""
        if self._maps is not None:
            return io.BufferedReader(_Reader(self._maps[name]))
        return open(self.place(name), "rb")

    def read(self, name: str = "") -> bytes:
        """All of a file."""
        if self._maps is not None:
            return bytes(self._maps[name])
        return pathlib.Path(self.place(name)).read_bytes()

    def __str__(self) -> str:
        return self.path or "the store"


class _Reader(io.RawIOBase):
    def __init__(self, view: memoryview) -> None:
        super().__init__()
        self._view = view
        self._length = len(view)

    def readable(self) -> bool:
        return True

    def position(self) -> int:
        """How much was read; without a buffer in between, exactly what was asked for."""
        return self._length - len(self._view)

    def readinto(self, buffer: Any) -> int:
        count = min(len(buffer), len(self._view))
        buffer[:count] = self._view[:count]
        self._view = self._view[count:]
        return count


def decode(name: str, content: Content, shape: str, format: Optional[str]) -> Any:
    """An object from what was stored of it; a path where there is no natural object."""
    word, _, kind = (format or "").partition("/")
    if shape == "value" and word in _DECODERS:
        try:
            return _DECODERS[word](name, content, kind)
        except ImportError as error:
            missing = (error.name or word).partition(".")[0]
            raise KaleError(
                USAGE,
                f"cannot load {name}: it is a {kind or word}, and there is no module {missing} "
                f"here; pip install {missing}",
            ) from error
        except (OSError, ValueError, KeyError) as error:
            raise KaleError(
                DAMAGED,
                f"cannot load {name} from {content} as {format}: {error}; load_path gives the files themselves",
            ) from error
    if content.path is None:
        return _decode_file(name, content, format)
    return pathlib.Path(content.path) if content.is_folder else _decode_file(name, content, format)


def _decode_npy(name: str, content: Content, kind: str) -> Any:
    import numpy as np

    view = content.memory()
    head = _Reader(view)
    version = np.lib.format.read_magic(head)
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
    shape, fortran, dtype = read(head) if read else ((0,), False, np.dtype(np.uint8))
    bytes_all = math.prod(shape) * dtype.itemsize
    if bytes_all < _MAP_FROM_BYTES or dtype.hasobject:
        loaded = np.lib.format.read_array(io.BufferedReader(_Reader(view)), allow_pickle=False)
        return loaded[()] if kind == "numpy.generic" else loaded
    start = head.position()
    if start + bytes_all > len(view):
        raise ValueError(f"{bytes_all} bytes of elements were to follow {start} of header, and it has {len(view)}")
    flat = np.frombuffer(view, dtype, math.prod(shape), start)
    return flat.reshape(shape[::-1]).T if fortran else flat.reshape(shape)


def _decode_arrow(name: str, content: Content, kind: str) -> Any:
    if kind.startswith("polars."):
        import polars as pl

        frame = pl.read_ipc(content.path or io.BytesIO(content.memory()))
        return frame.to_series() if kind == "polars.Series" else frame
    if kind.startswith("pandas."):
        import pandas  # noqa: F401 - pyarrow's own error would not name it
    import pyarrow as pa
    import pyarrow.ipc

    reader = pa.ipc.open_file(pa.memory_map(content.path) if content.path else pa.py_buffer(content.memory()))
    if kind == "pyarrow.RecordBatch":
        return reader.get_batch(0)
    table = reader.read_all()
    if kind == "pyarrow.Table":
        return table
    frame = _own_columns(table.to_pandas())
    if kind != "pandas.Series":
        return frame
    series = frame["values"]
    series.name = json.loads(table.schema.metadata[b"kale.series"])
    return series


def _own_columns(frame: Any) -> Any:
    """Copies the columns that still lie in the file and cannot be written to: all that are alone of their type."""
    dtypes = list(frame.dtypes)
    counts = collections.Counter(map(str, dtypes))
    for name, dtype in zip(list(frame.columns), dtypes):
        if counts[str(dtype)] == 1 or type(dtype).__module__.startswith("pandas"):
            frame[name] = frame[name].copy()
    return frame


def _decode_safetensors(name: str, content: Content, kind: str) -> Any:
    tensors = torch_tensors(content.memory())
    return tensors["tensor"] if kind == "torch.Tensor" else tensors


def _decode_json(name: str, content: Content, kind: str) -> Any:
    return json.loads(content.read().decode("utf-8"))


def _decode_text(name: str, content: Content, kind: str) -> str:
    return content.read().decode("utf-8")


def _decode_bytes(name: str, content: Content, kind: str) -> bytes:
    return content.read()


class _NotFound(Exception):
    """A pickle names something that this process does not have."""


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return super().find_class(module, name)
        except (ImportError, AttributeError) as error:
            raise _NotFound(module, name) from error


def _decode_pickle(name: str, content: Content, kind: str) -> Any:
    buffers, pickled = [], ""
    if content.is_folder:
        pickled = "object.pkl"
        table = json.loads(content.read("buffers.json").decode("utf-8"))
        all_buffers = content.memory("buffers")
        views = [all_buffers[one["offset"] : one["offset"] + one["length"]] for one in table]
        buffers = [view.toreadonly() if one["readonly"] else view for one, view in zip(table, views)]
    try:
        with content.open(pickled) as file:
            return _Unpickler(file, buffers=buffers).load()
    except _NotFound as error:
        module, what = error.args
        top = module.partition(".")[0]
        remedy = (
            f"define {what} in a module that both steps import, not in the script itself"
            if module == "__main__"
            else f"make it importable here as it was where {name} was saved, such as by pip install {top}"
        )
        raise KaleError(
            USAGE,
            f"cannot load {name}: it needs {what} of module {module}, and that cannot be imported "
            f"here ({error.__cause__}); {remedy}",
        ) from error
    except Exception as error:
        raise KaleError(
            USAGE,
            f"cannot load {name}: unpickling {content} failed with {type(error).__name__}: {error}; "
            "are the libraries here of other versions than where it was saved?",
        ) from error


_DECODERS: Dict[str, Callable[[str, Content, str], Any]] = {
    "npy": _decode_npy,
    "arrow": _decode_arrow,
    "safetensors": _decode_safetensors,
    "bytes": _decode_bytes,
    "text": _decode_text,
    "json": _decode_json,
    "pickle": _decode_pickle,
    "pickle+buffers": _decode_pickle,
}

_EXTENSIONS = {"feather": "arrow", "txt": "text", "md": "text"}


def _decode_file(name: str, content: Content, format: Optional[str]) -> Any:
    """What was saved as a file, as the natural object of its format where the library for it is here."""
    path = content.path or ""
    extension = pathlib.Path(path).suffix[1:].lower()
    word = (format or _EXTENSIONS.get(extension, extension)).partition("/")[0]
    try:
        if word in ("npy", "json", "text"):
            return _DECODERS[word](name, content, "")
        if word == "safetensors":
            return numpy_tensors(name, content.memory())
        if word in ("parquet", "arrow", "csv", "tsv"):
            import pandas as pd

            if word == "parquet":
                return pd.read_parquet(path)
            if word == "arrow":
                return _decode_arrow(name, content, "pandas.DataFrame")
            return pd.read_csv(path, sep="\t" if word == "tsv" else ",")
    except ImportError:
        pass  # The file itself is of use without the library.
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise KaleError(
            DAMAGED, f"cannot load {name} from {content} as {word}: {error}; load_path gives the file itself"
        ) from error
    if content.path is None:
        raise NeedsPath
    return pathlib.Path(path)
