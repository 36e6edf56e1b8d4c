"""Objects to files: each encoder writes the object and says the format, or leaves it to the next one."""

from __future__ import annotations

import ctypes
import io
import itertools
import json
import math
import pickle
import sys
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

from .errors import OUTPUT, KaleError, is_utf8, type_name
from .memory import Parts, write_all
from .tables import encode_arrow
from .tensors import TYPES

# Buffers start at multiples of a page, so that they can be mapped; smaller ones stay in the pickle.
_PAGE = 4096
# None imports a library that is not loaded yet: an object of its type cannot be here without it.


def _encode_npy(name: str, obj: Any, parts: Parts) -> Optional[str]:
    np = sys.modules.get("numpy")
    # Of text, bytes and records the length is part of the type: as scalars they go better into a pickle.
    scalar = np is not None and isinstance(obj, np.generic) and not isinstance(obj, np.flexible)
    if np is None or not (scalar or type(obj) in (np.ndarray, np.memmap)):
        return None
    if obj.dtype.hasobject or obj.dtype.metadata:
        return None
    if np.lib.format.descr_to_dtype(np.lib.format.dtype_to_descr(obj.dtype)) != obj.dtype:
        return None  # A dtype of another library, whose name the format cannot hold.
    _write_npy(np, parts, np.asarray(obj))
    return "npy/numpy.generic" if scalar else "npy/numpy.ndarray"


def _write_npy(np: Any, parts: Parts, obj: Any) -> None:
    file = parts.add("")
    flat = obj if obj.flags.c_contiguous else obj.T
    if obj.nbytes and flat.flags.c_contiguous:
        header = io.BytesIO()
        try:
            np.lib.format.write_array_header_1_0(header, np.lib.format.header_data_from_array_1_0(obj))
        except ValueError:
            pass  # Too long or not Latin: the library knows the other versions.
        else:
            write_all(file, [header.getvalue(), flat.reshape(-1).view(np.uint8)])
            return
    np.lib.format.write_array(file, obj, allow_pickle=False)


def _encode_safetensors(name: str, obj: Any, parts: Parts) -> Optional[str]:
    torch = sys.modules.get("torch")
    if torch is None or type(obj) not in (torch.Tensor, dict):
        return None
    tensors = {"tensor": obj} if type(obj) is torch.Tensor else obj
    if (
        not tensors
        or "__metadata__" in tensors
        or not all(
            type(key) is str
            and is_utf8(key)
            and type(tensor) is torch.Tensor
            and tensor.layout is torch.strided
            and not tensor.requires_grad
            and not tensor.is_quantized
            and str(tensor.dtype)[len("torch.") :] in TYPES
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
        word = TYPES[str(tensor.dtype)[len("torch.") :]]
        header[key] = {"dtype": word, "shape": list(tensor.shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode("ascii")
    text += b" " * (-len(text) % 8)
    views: List[Any] = [len(text).to_bytes(8, "little") + text]
    for key in order:
        start, end = header[key]["data_offsets"]
        if end > start:
            views.append((ctypes.c_char * (end - start)).from_address(tensors[key].data_ptr()))
    parts.kept.append(tensors)
    write_all(parts.add(""), views)
    return "safetensors/torch.Tensor" if type(obj) is torch.Tensor else "safetensors/dict"


def _encode_bytes(name: str, obj: Any, parts: Parts) -> Optional[str]:
    if type(obj) is not bytes:
        return None
    parts.add("").write(obj)
    return "bytes"


def _encode_text(name: str, obj: Any, parts: Parts) -> Optional[str]:
    if type(obj) is not str or not is_utf8(obj):
        return None
    parts.add("").write(obj.encode("utf-8"))
    return "text"


def _encode_json(name: str, obj: Any, parts: Parts) -> Optional[str]:
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
        return is_utf8(obj)
    if kind not in (list, dict) or depth > 100 or id(obj) in seen:
        return False
    seen.add(id(obj))
    if kind is list:
        return all(_is_json(one, seen, depth + 1) for one in obj)
    return all(type(key) is str and is_utf8(key) and _is_json(one, seen, depth + 1) for key, one in obj.items())


def _encode_pickle(name: str, obj: Any, parts: Parts) -> str:
    buffers: List[pickle.PickleBuffer] = []

    def aside(buffer: pickle.PickleBuffer) -> bool:
        if buffer.raw().nbytes < _PAGE:
            return True  # "True" leaves it in the pickle.
        buffers.append(buffer)
        return False

    file = parts.add("object.pkl")
    try:
        pickle.Pickler(file, 5, buffer_callback=aside).dump(obj)
    except (OSError, KaleError):
        raise
    except Exception as error:
        where, culprit = _culprit(name, obj)
        raise KaleError(
            OUTPUT,
            f"cannot save {name}: {where} is a {type_name(culprit)}, which cannot be pickled "
            f"({error}); leave it out, save what it was made from, or give its class a "
            "__reduce__",
        ) from error
    if not buffers:
        parts.only("object.pkl")
        return "pickle"
    table: List[Dict[str, Any]] = []
    views: List[Any] = []
    end = 0
    for buffer in buffers:
        view = buffer.raw()
        offset = end + -end % _PAGE
        views += [bytes(offset - end), view]
        end = offset + view.nbytes
        table.append({"offset": offset, "length": view.nbytes, "readonly": view.readonly})
    write_all(parts.add("buffers"), views)
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


ENCODERS: Dict[str, Callable[[str, Any, Parts], Optional[str]]] = {
    "npy": _encode_npy,
    "arrow": encode_arrow,
    "safetensors": _encode_safetensors,
    "bytes": _encode_bytes,
    "text": _encode_text,
    "json": _encode_json,
    "pickle": _encode_pickle,
}


