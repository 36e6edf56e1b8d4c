"""The client of kale-agent for step code: ``save`` and ``load`` objects by name.

    import kale_agent

    table = kale_agent.load("table")
    kale_agent.save("model", train(table))

Needs nothing but the standard library of Python 3.8 or later. In a step it asks the agent on the socket in
``KALE_SOCKET``; outside of one it runs the program ``kale-agent`` (``KALE_AGENT``, else from ``PATH``).

``save`` chooses a format by the object's type, and takes it only where ``load`` gives back the same:

==================================  ===============================================  ========================
object                              stored as                                        format
==================================  ===============================================  ========================
numpy array, numpy scalar           ``.npy``                                         ``npy/numpy.ndarray``, …
pandas, Polars or PyArrow table     Arrow IPC file (pandas: if pyarrow is there)     ``arrow/pandas.DataFrame``, …
torch tensor, dict of them          safetensors                                      ``safetensors/torch.Tensor``, …
``bytes``                           itself                                           ``bytes``
``str``                             UTF-8                                            ``text``
plain JSON data                     JSON                                             ``json``
anything else                       pickle, large buffers raw in a file of their own ``pickle``, ``pickle+buffers``
==================================  ===============================================  ========================

Arrays and buffers are mapped when loaded: copy-on-write, so that writing to them changes no file.

A pickle runs code when it is loaded, with the rights of the step. Only values that ``save`` stored are ever
unpickled, never a file that merely looks like a pickle; load only what steps that you trust have saved.
"""

from __future__ import annotations

import array
import atexit
import collections
import ctypes
import io
import itertools
import json
import math
import mmap
import os
import pathlib
import pickle
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from typing import Any, BinaryIO, Callable, Dict, Iterator, List, Optional, Tuple

__all__ = ["KaleError", "fan_out", "inputs", "load", "load_path", "outputs", "save", "save_path"]

# The agent's own exit codes, for failures that are found on this side.
_USAGE, _OUTPUT, _DAMAGED, _IO = 190, 194, 193, 195
_FRAME_BYTES = 1 << 20
# Buffers start at multiples of a page, so that they can be mapped; smaller ones stay in the pickle.
_PAGE = 4096
# Below this, reading a file is cheaper than mapping it.
_MAP_FROM_BYTES = 64 << 10


class KaleError(RuntimeError):
    """A request failed. ``code`` is the agent's exit code for it; ``message`` says what, where, and what to do."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return self.message


def save(name: str, obj: Any, *, format: Optional[str] = None) -> str:
    """Stores an object as the artifact ``name`` and returns its digest.

    ``format`` insists on one of ``npy``, ``arrow``, ``safetensors``, ``bytes``, ``text``, ``json`` and ``pickle``; an
    object that would not come back the same from it is refused. Tensors on a device come back on the CPU.
    """
    if format is not None and format not in _ENCODERS:
        raise KaleError(_USAGE, f"cannot save {name}: there is no format '{format}'; use one of {', '.join(_ENCODERS)}")
    agent = _agent()
    try:
        with _Parts(agent.folder) as parts:
            for word in [format] if format else list(_ENCODERS):
                content = _ENCODERS[word](name, obj, parts)
                if content is not None:
                    return agent.save(name, content, parts)
                parts.clear()
    except OSError as error:
        raise KaleError(_IO, f"cannot save {name}: {error}; see whether there is room for a copy of it") from error
    raise KaleError(
        _USAGE,
        f"cannot save {name} as {format}: this {_type_name(obj)} would not come back the same; " "leave the format out",
    )


def load(name: str) -> Any:
    """Loads an artifact: the name of a declared input, or a reference such as ``prep:table``.

    What ``save`` stored comes back as it was. Of what was stored as a file, ``npy`` becomes an array, ``parquet``,
    ``arrow``, ``csv`` and ``tsv`` a pandas DataFrame, ``json`` an object and ``text`` a string, where the library
    that this needs is there; all else, folders too, is a ``pathlib.Path``. Of several producers (``train[*]:model``)
    comes a list in the order of their shards. Runs the code in pickles that ``save`` stored: see the module.
    """
    agent = _agent()
    path, shape, format = agent.load(name, None)
    if shape == "fan-in":
        with open(os.path.join(path, "index.json"), encoding="utf-8") as index:
            found = [
                (f"{name}, shard {one['shard']}", os.path.join(path, one["path"]), one["shape"], one["format"])
                for one in json.load(index)
            ]
        return [_decode(*one) for one in found]
    return _decode(name, path, shape, format)


def save_path(name: str, path: "os.PathLike[str] | str") -> str:
    """Stores a file or folder as the artifact ``name`` and returns its digest."""
    return _agent().save_path(name, _absolute(path))


def load_path(reference: str, path: "os.PathLike[str] | str | None" = None) -> str:
    """Restores an artifact to ``path``, which must not exist, else where the agent chooses; returns where it lies.

    The agent's own places last as long as the step, or outside of a step as long as this process.
    """
    return _agent().load(reference, None if path is None else _absolute(path))[0]


def fan_out(step: str, count: int) -> None:
    """Sets how many shards the step ``step`` downstream has."""
    _agent().fan_out(step, count)


def inputs() -> Dict[str, str]:
    """The paths of this step's declared inputs, by name; none outside of a step."""
    return json.loads(os.environ.get("KALE_INPUTS") or "{}")


def outputs() -> Dict[str, str]:
    """The paths where this step's declared outputs are expected, by name; none outside of a step."""
    return json.loads(os.environ.get("KALE_OUTPUTS") or "{}")


# ---- the two ways to the agent


class _Parts:
    """The files of one value that is being saved: in memory for the agent of a step, else in a folder."""

    def __init__(self, folder: Optional[str]) -> None:
        self.folder = tempfile.mkdtemp(dir=folder) if folder else None
        self.files: Dict[str, BinaryIO] = {}

    def __enter__(self) -> _Parts:
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()
        if self.folder:
            shutil.rmtree(self.folder, ignore_errors=True)

    def clear(self) -> None:
        """Throws away what was written."""
        for name, file in self.files.items():
            file.close()
            if self.folder:
                os.unlink(os.path.join(self.folder, name or "value"))
        self.files.clear()

    def only(self, name: str) -> None:
        """Makes the one file that was added the whole artifact."""
        self.files[""] = self.files.pop(name)
        if self.folder:
            os.rename(os.path.join(self.folder, name), os.path.join(self.folder, "value"))

    def add(self, name: str) -> BinaryIO:
        """A new file; an artifact that is one file has the empty name."""
        if self.folder:
            file: BinaryIO = open(os.path.join(self.folder, name or "value"), "wb")
        else:
            file = _memory_file()
        self.files[name] = file
        return file


def _memory_file() -> BinaryIO:
    if hasattr(os, "memfd_create"):
        try:
            # Not for reading as well: numpy writes to a plain writer without a copy.
            return open(os.memfd_create("kale"), "wb")
        except OSError:
            pass  # Forbidden or not built in here: a file without a name does as well.
    return tempfile.TemporaryFile("wb", dir=os.environ.get("KALE_DIR") or None)


class _Step:
    """The agent of this step, on its socket; a connection for each request, so that threads and forks may ask, too."""

    folder = None

    def __init__(self, path: str) -> None:
        self.path = path

    def save(self, name: str, format: str, parts: _Parts) -> str:
        for file in parts.files.values():
            file.flush()
            os.lseek(file.fileno(), 0, os.SEEK_SET)
        asked = {"op": "save", "name": name, "format": format, "value": True, "from": {"parts": list(parts.files)}}
        return self._ask(asked, [file.fileno() for file in parts.files.values()])["saved"]["digest"]

    def save_path(self, name: str, path: str) -> str:
        return self._ask({"op": "save", "name": name, "from": {"path": path}})["saved"]["digest"]

    def load(self, reference: str, path: Optional[str]) -> Tuple[str, str, Optional[str]]:
        asked = {"op": "load", "reference": reference}
        loaded = self._ask(asked if path is None else {**asked, "path": path})["loaded"]
        return loaded["path"], loaded["shape"], loaded.get("format")

    def fan_out(self, step: str, count: int) -> None:
        self._ask({"op": "fan-out", "step": step, "count": count})

    def _ask(self, asked: Dict[str, Any], files: "List[int] | None" = None) -> Any:
        body = json.dumps({"v": 1, **asked}).encode("ascii")
        if len(body) > _FRAME_BYTES:
            raise KaleError(_USAGE, f"a request of {len(body)} bytes is over the limit of 1 MiB: use shorter names")
        frame = len(body).to_bytes(4, "little") + body
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", files))] if files else []
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream:
                stream.connect(self.path)
                # Descriptors go with the first byte. Sending nothing after the last one would be an error if the
                # other side had already answered and closed.
                sent = stream.sendmsg([frame], rights)
                if sent < len(frame):
                    stream.sendall(frame[sent:])
                length = int.from_bytes(_receive(stream, 4), "little")
                if length > _FRAME_BYTES:
                    raise OSError(f"an answer of {length} bytes is over the limit of 1 MiB")
                reply = json.loads(_receive(stream, length).decode("utf-8"))
        except (OSError, ValueError) as error:
            raise KaleError(
                _IO,
                f"the agent of this step does not answer on {self.path}: {error}; the step that set "
                "KALE_SOCKET has ended: unset it to work on a store directly",
            ) from error
        if isinstance(reply, dict) and "failed" in reply:
            raise KaleError(reply["failed"]["code"], reply["failed"]["message"])
        return reply


def _receive(stream: socket.socket, length: int) -> bytes:
    received = bytearray()
    while len(received) < length:
        some = stream.recv(length - len(received))
        if not some:
            raise OSError("it closed the connection")
        received += some
    return bytes(received)


class _Program:
    """The program ``kale-agent``, outside of a step. What it restores lies in a folder until this process ends."""

    _lock = threading.Lock()
    _folders: Dict[int, str] = {}
    _numbers: Iterator[int] = itertools.count()

    @property
    def folder(self) -> str:
        # A forked child has a folder of its own, so that neither takes away the other's.
        with self._lock:
            if os.getpid() not in self._folders:
                self._folders[os.getpid()] = tempfile.mkdtemp(prefix="kale-")
                atexit.register(self._remove)
            return self._folders[os.getpid()]

    @classmethod
    def _remove(cls) -> None:
        shutil.rmtree(cls._folders.pop(os.getpid(), ""), ignore_errors=True)

    def save(self, name: str, format: str, parts: _Parts) -> str:
        for file in parts.files.values():
            file.close()
        assert parts.folder, "parts for the program are made in a folder"
        path = os.path.join(parts.folder, "value") if "" in parts.files else parts.folder
        return self._run("save", name, path, "--format", format, "--value")["digest"]

    def save_path(self, name: str, path: str) -> str:
        return self._run("save", name, path)["digest"]

    def load(self, reference: str, path: Optional[str]) -> Tuple[str, str, Optional[str]]:
        place = path or os.path.join(self.folder, f"loaded-{next(self._numbers)}")
        loaded = self._run("load", reference, place)
        return loaded["path"], loaded["shape"], loaded.get("format")

    def fan_out(self, step: str, count: int) -> None:
        raise KaleError(
            _USAGE, f"cannot set the shards of {step} to {count}: only a step can; run this under " "'kale-agent run'"
        )

    def _run(self, *words: str) -> Any:
        program = os.environ.get("KALE_AGENT") or "kale-agent"
        try:
            done = subprocess.run([program, "--json", *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        except OSError as error:
            raise KaleError(
                _IO,
                f"cannot run {program}: {error}; outside of a step the program is needed: put it on "
                "PATH or its path into KALE_AGENT",
            ) from error
        try:
            told = json.loads(done.stdout.decode("utf-8"))
        except ValueError as error:
            raise KaleError(
                _IO,
                f"'{program} {words[0]}' ended with {done.returncode} and without an answer: see what "
                "it wrote to stderr",
            ) from error
        if "error" in told:
            failure = told["error"]
            remedy = f"; {failure['remedy']}" if failure.get("remedy") else ""
            raise KaleError(failure["code"], f"{failure['message']}{remedy}")
        return told


def _agent() -> "_Step | _Program":
    path = os.environ.get("KALE_SOCKET")
    return _Step(path) if path else _Program()


def _absolute(path: "os.PathLike[str] | str") -> str:
    text = os.path.abspath(os.fspath(path))
    if not _is_utf8(text):
        raise KaleError(_USAGE, f"the path {text!r} is not UTF-8: use the folder above it, or rename it")
    return text


def _is_utf8(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _type_name(obj: Any) -> str:
    kind = type(obj)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


# ---- objects to files: each encoder writes the object and says the format, or leaves it to the next one.
# None imports a library that is not loaded yet: an object of its type cannot be here without it.


def _encode_npy(name: str, obj: Any, parts: _Parts) -> Optional[str]:
    np = sys.modules.get("numpy")
    # Of text, bytes and records the length is part of the type: as scalars they go better into a pickle.
    scalar = np is not None and isinstance(obj, np.generic) and not isinstance(obj, np.flexible)
    if np is None or not (scalar or type(obj) in (np.ndarray, np.memmap)):
        return None
    if obj.dtype.hasobject or obj.dtype.metadata:
        return None
    if np.lib.format.descr_to_dtype(np.lib.format.dtype_to_descr(obj.dtype)) != obj.dtype:
        return None  # A dtype of another library, whose name the format cannot hold.
    np.lib.format.write_array(parts.add(""), np.asarray(obj), allow_pickle=False)
    return "npy/numpy.generic" if scalar else "npy/numpy.ndarray"


def _encode_arrow(name: str, obj: Any, parts: _Parts) -> Optional[str]:
    pd, pl, pa = sys.modules.get("pandas"), sys.modules.get("polars"), sys.modules.get("pyarrow")
    if pd is not None and type(obj) in (getattr(pd, "DataFrame", None), getattr(pd, "Series", None)):
        return _encode_pandas(obj, parts)
    if pl is not None and type(obj) in (getattr(pl, "DataFrame", None), getattr(pl, "Series", None)):
        return _encode_polars(pl, obj, parts)
    if pa is not None and type(obj) in (getattr(pa, "Table", None), getattr(pa, "RecordBatch", None)):
        return _write_arrow(obj, parts) and f"arrow/pyarrow.{type(obj).__name__}"
    return None


def _write_arrow(table: Any, parts: _Parts) -> bool:
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


def _encode_polars(pl: Any, obj: Any, parts: _Parts) -> Optional[str]:
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


def _encode_pandas(obj: Any, parts: _Parts) -> Optional[str]:
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
    if not all(_arrow_keeps_column(pd, column) for column in columns):
        return None
    try:
        table = pa.Table.from_pandas(frame)
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


_TENSORS = {
    "float64": "F64",
    "float32": "F32",
    "float16": "F16",
    "bfloat16": "BF16",
    "int64": "I64",
    "int32": "I32",
    "int16": "I16",
    "int8": "I8",
    "uint64": "U64",
    "uint32": "U32",
    "uint16": "U16",
    "uint8": "U8",
    "bool": "BOOL",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2",
}


def _encode_safetensors(name: str, obj: Any, parts: _Parts) -> Optional[str]:
    torch = sys.modules.get("torch")
    if torch is None or type(obj) not in (torch.Tensor, dict):
        return None
    tensors = {"tensor": obj} if type(obj) is torch.Tensor else obj
    if (
        not tensors
        or "__metadata__" in tensors
        or not all(
            type(key) is str
            and _is_utf8(key)
            and type(tensor) is torch.Tensor
            and tensor.layout is torch.strided
            and not tensor.requires_grad
            and not tensor.is_quantized
            and str(tensor.dtype)[len("torch.") :] in _TENSORS
            for key, tensor in tensors.items()
        )
    ):
        return None
    storages = {tensor.untyped_storage().data_ptr() for tensor in tensors.values() if tensor.numel()}
    if len(storages) < sum(1 for tensor in tensors.values() if tensor.numel()):
        return None  # Tensors that share memory must share it again.
    tensors = {key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()}
    # The widest first: then every tensor is aligned to its elements.
    order = sorted(tensors, key=lambda key: -tensors[key].element_size())
    header: Dict[str, Any] = {"__metadata__": {"format": "pt"}, **dict.fromkeys(tensors)}
    end = 0
    for key in order:
        tensor = tensors[key]
        start, end = end, end + tensor.numel() * tensor.element_size()
        word = _TENSORS[str(tensor.dtype)[len("torch.") :]]
        header[key] = {"dtype": word, "shape": list(tensor.shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode("ascii")
    text += b" " * (-len(text) % 8)
    file = parts.add("")
    file.write(len(text).to_bytes(8, "little") + text)
    for key in order:
        start, end = header[key]["data_offsets"]
        if end > start:
            file.write((ctypes.c_char * (end - start)).from_address(tensors[key].data_ptr()))
    return "safetensors/torch.Tensor" if type(obj) is torch.Tensor else "safetensors/dict"


def _encode_bytes(name: str, obj: Any, parts: _Parts) -> Optional[str]:
    if type(obj) is not bytes:
        return None
    parts.add("").write(obj)
    return "bytes"


def _encode_text(name: str, obj: Any, parts: _Parts) -> Optional[str]:
    if type(obj) is not str or not _is_utf8(obj):
        return None
    parts.add("").write(obj.encode("utf-8"))
    return "text"


def _encode_json(name: str, obj: Any, parts: _Parts) -> Optional[str]:
    if not _is_json(obj, set(), 0):
        return None
    parts.add("").write(json.dumps(obj, ensure_ascii=False, allow_nan=False).encode("utf-8"))
    return "json"


def _is_json(obj: Any, seen: set, depth: int) -> bool:
    """Whether JSON gives back the same: no other types, nothing that is shared or endless."""
    kind = type(obj)
    if obj is None or kind is bool:
        return True
    if kind is int:
        return obj.bit_length() < 64
    if kind is float:
        return math.isfinite(obj)
    if kind is str:
        return _is_utf8(obj)
    if kind not in (list, dict) or depth > 100 or id(obj) in seen:
        return False
    seen.add(id(obj))
    if kind is list:
        return all(_is_json(one, seen, depth + 1) for one in obj)
    return all(type(key) is str and _is_utf8(key) and _is_json(one, seen, depth + 1) for key, one in obj.items())


def _encode_pickle(name: str, obj: Any, parts: _Parts) -> str:
    buffers: List[pickle.PickleBuffer] = []

    def aside(buffer: pickle.PickleBuffer) -> bool:
        if buffer.raw().nbytes < _PAGE:
            return True  # "True" leaves it in the pickle.
        buffers.append(buffer)
        return False

    file = parts.add("object.pkl")
    try:
        pickle.Pickler(file, 5, buffer_callback=aside).dump(obj)
    except OSError:
        raise
    except Exception as error:
        where, culprit = _culprit(name, obj)
        raise KaleError(
            _OUTPUT,
            f"cannot save {name}: {where} is a {_type_name(culprit)}, which cannot be pickled "
            f"({error}); leave it out, save what it was made from, or give its class a "
            "__reduce__",
        ) from error
    if not buffers:
        parts.only("object.pkl")
        return "pickle"
    table, content = [], parts.add("buffers")
    for buffer in buffers:
        view = buffer.raw()
        offset = content.seek(-content.tell() % _PAGE, os.SEEK_CUR)
        content.write(view)
        table.append({"offset": offset, "length": view.nbytes, "readonly": view.readonly})
    parts.add("buffers.json").write(json.dumps(table).encode("ascii"))
    return "pickle+buffers"


class _Nowhere:
    def write(self, data: Any) -> int:
        return len(data)


def _culprit(path: str, obj: Any, levels: int = 6) -> Tuple[str, Any]:
    """The innermost part of an object that cannot be pickled, and the way to it."""
    for step, part in itertools.islice(_inside(obj), 10_000) if levels else ():
        try:
            pickle.Pickler(_Nowhere(), 5, buffer_callback=lambda _: None).dump(part)
        except Exception:
            return _culprit(path + step, part, levels - 1)
    return path, obj


def _inside(obj: Any) -> Iterator[Tuple[str, Any]]:
    if isinstance(obj, dict):
        for key, part in obj.items():
            yield f"[{key!r}]", part
            yield f".keys()[{key!r}]", key
    elif isinstance(obj, (list, tuple)):
        yield from ((f"[{place}]", part) for place, part in enumerate(obj))
    elif isinstance(obj, (set, frozenset)):
        yield from (("{…}", part) for part in obj)
    if not isinstance(obj, type):
        yield from ((f".{key}", part) for key, part in getattr(obj, "__dict__", {}).items())
        slots = getattr(type(obj), "__slots__", ())
        for key in (slots,) if isinstance(slots, str) else slots:
            if hasattr(obj, key):
                yield f".{key}", getattr(obj, key)


_ENCODERS: Dict[str, Callable[[str, Any, _Parts], Optional[str]]] = {
    "npy": _encode_npy,
    "arrow": _encode_arrow,
    "safetensors": _encode_safetensors,
    "bytes": _encode_bytes,
    "text": _encode_text,
    "json": _encode_json,
    "pickle": _encode_pickle,
}


# ---- files to objects


def _decode(name: str, path: str, shape: str, format: Optional[str]) -> Any:
    word, _, kind = (format or "").partition("/")
    if shape == "value" and word in _DECODERS:
        try:
            return _DECODERS[word](name, path, kind)
        except ImportError as error:
            missing = (error.name or word).partition(".")[0]
            raise KaleError(
                _USAGE,
                f"cannot load {name}: it is a {kind or word}, and there is no module {missing} "
                f"here; pip install {missing}",
            ) from error
        except (OSError, ValueError, KeyError) as error:
            raise KaleError(
                _DAMAGED,
                f"cannot load {name} from {path} as {format}: {error}; load_path gives the files " "themselves",
            ) from error
    return pathlib.Path(path) if os.path.isdir(path) else _decode_file(name, path, format)


def _map(path: str) -> mmap.mmap:
    with open(path, "rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)


def _decode_npy(name: str, path: str, kind: str) -> Any:
    import numpy as np

    mode = "c" if os.path.getsize(path) >= _MAP_FROM_BYTES else None
    loaded = np.asarray(np.load(path, mmap_mode=mode, allow_pickle=False))
    return loaded[()] if kind == "numpy.generic" else loaded


def _decode_arrow(name: str, path: str, kind: str) -> Any:
    if kind.startswith("polars."):
        import polars as pl

        frame = pl.read_ipc(path)
        return frame.to_series() if kind == "polars.Series" else frame
    if kind.startswith("pandas."):
        import pandas  # noqa: F401 - pyarrow's own error would not name it
    import pyarrow as pa
    import pyarrow.ipc

    reader = pa.ipc.open_file(pa.memory_map(path))
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


def _decode_safetensors(name: str, path: str, kind: str) -> Any:
    import torch

    content = _map(path)
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start].decode("utf-8"))
    words = {word: getattr(torch, dtype) for dtype, word in _TENSORS.items() if hasattr(torch, dtype)}
    tensors = {}
    for key, told in header.items():
        if key == "__metadata__":
            continue
        first, end = told["data_offsets"]
        dtype, count = words[told["dtype"]], math.prod(told["shape"])
        flat = torch.frombuffer(content, dtype=dtype, count=count, offset=start + first) if end > first else None
        tensors[key] = torch.empty(told["shape"], dtype=dtype) if flat is None else flat.reshape(told["shape"])
    return tensors["tensor"] if kind == "torch.Tensor" else tensors


def _decode_json(name: str, path: str, kind: str) -> Any:
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def _decode_text(name: str, path: str, kind: str) -> str:
    with open(path, encoding="utf-8", newline="") as file:
        return file.read()


def _decode_bytes(name: str, path: str, kind: str) -> bytes:
    return pathlib.Path(path).read_bytes()


class _NotFound(Exception):
    """A pickle names something that this process does not have."""


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return super().find_class(module, name)
        except (ImportError, AttributeError) as error:
            raise _NotFound(module, name) from error


def _decode_pickle(name: str, path: str, kind: str) -> Any:
    if os.path.isdir(path):
        with open(os.path.join(path, "buffers.json"), encoding="utf-8") as file:
            table = json.load(file)
        content = memoryview(_map(os.path.join(path, "buffers")))
        views = [content[one["offset"] : one["offset"] + one["length"]] for one in table]
        buffers = [view.toreadonly() if one["readonly"] else view for one, view in zip(table, views)]
        path = os.path.join(path, "object.pkl")
    else:
        buffers = []
    try:
        with open(path, "rb") as file:
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
            _USAGE,
            f"cannot load {name}: it needs {what} of module {module}, and that cannot be imported "
            f"here ({error.__cause__}); {remedy}",
        ) from error
    except Exception as error:
        raise KaleError(
            _USAGE,
            f"cannot load {name}: unpickling {path} failed with {type(error).__name__}: {error}; "
            "are the libraries here of other versions than where it was saved?",
        ) from error


_DECODERS: Dict[str, Callable[[str, str, str], Any]] = {
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


def _decode_file(name: str, path: str, format: Optional[str]) -> Any:
    """What was saved as a file, as the natural object of its format where the library for it is here."""
    extension = pathlib.Path(path).suffix[1:].lower()
    word = (format or _EXTENSIONS.get(extension, extension)).partition("/")[0]
    try:
        if word in ("npy", "json", "text"):
            return _DECODERS[word](name, path, "")
        if word in ("parquet", "arrow", "csv", "tsv"):
            import pandas as pd

            if word == "parquet":
                return pd.read_parquet(path)
            if word == "arrow":
                return _decode_arrow(name, path, "pandas.DataFrame")
            return pd.read_csv(path, sep="\t" if word == "tsv" else ",")
    except ImportError:
        pass  # The file itself is of use without the library.
    except (OSError, ValueError) as error:
        raise KaleError(
            _DAMAGED, f"cannot load {name} from {path} as {word}: {error}; load_path gives the file " "itself"
        ) from error
    return pathlib.Path(path)
