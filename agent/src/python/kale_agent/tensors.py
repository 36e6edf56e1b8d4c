"""Tensors in the safetensors format, from a map to arrays of NumPy or tensors of PyTorch."""

from __future__ import annotations

import json
import math
from typing import Any, Dict, Iterator, Tuple

from .errors import USAGE, KaleError

# The names that PyTorch and NumPy with ml_dtypes have, and those of the format.
TYPES = {
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
_NAMES = {word: name for name, word in TYPES.items()}


def _stretches(view: memoryview) -> Iterator[Tuple[str, Dict[str, Any], memoryview]]:
    """Every tensor: its key, what the header tells of it, and its bytes."""
    start = 8 + int.from_bytes(view[:8], "little")
    if start > len(view):
        raise ValueError(f"its header claims to end at byte {start} of {len(view)}")
    header = json.loads(bytes(view[8:start]).decode("utf-8"))
    if not isinstance(header, dict):
        raise ValueError("its header is not an object")
    for key, told in header.items():
        if key == "__metadata__":
            continue
        first, end = told["data_offsets"]
        if not 0 <= first <= end <= len(view) - start:
            raise ValueError(f"its tensor {key} claims the bytes {first} to {end} of {len(view) - start}")
        yield key, told, view[start + first : start + end]


def torch_tensors(view: memoryview) -> Dict[str, Any]:
    """The tensors of a file, by key, in its memory."""
    import torch

    tensors = {}
    for key, told, stretch in _stretches(view):
        dtype = getattr(torch, _NAMES[told["dtype"]])
        flat = torch.frombuffer(stretch, dtype=dtype) if len(stretch) else torch.empty(0, dtype=dtype)
        tensors[key] = flat.reshape(told["shape"])
    return tensors


def numpy_tensors(name: str, view: memoryview) -> Dict[str, Any]:
    """The tensors of a file as arrays, by key, in its memory; types that NumPy lacks are those of ml_dtypes."""
    import numpy as np

    arrays = {}
    for key, told, stretch in _stretches(view):
        flat = np.frombuffer(stretch, _dtype(np, name, key, told["dtype"]))
        if flat.size != math.prod(told["shape"]):
            what = f"{told['shape']} of {told['dtype']}"
            raise ValueError(f"its tensor {key} has {len(stretch)} bytes, which are not {what}")
        arrays[key] = flat.reshape(told["shape"])
    return arrays


def _dtype(np: Any, name: str, key: str, word: str) -> Any:
    known = _NAMES.get(word, "")
    if hasattr(np, known):
        return np.dtype(known)
    try:
        import ml_dtypes
    except ImportError:
        remedy = "pip install ml_dtypes, or take the file itself with load_path"
    else:
        if hasattr(ml_dtypes, known):
            return np.dtype(getattr(ml_dtypes, known))
        remedy = "take the file itself with load_path"
    raise KaleError(USAGE, f"cannot load {name}: NumPy has no type for its tensor {key}, which is {word}; {remedy}")
