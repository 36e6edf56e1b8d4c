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

``save`` returns when the agent has the bytes, in memory that nobody can change any more, and they are stored while the
step goes on. Long objects are not even copied for that: a child of this process, which only sleeps, keeps their memory.
Arrays and buffers are mapped when loaded, from the store itself where it is a mounted file system: copy-on-write, so that
writing to them changes no file.

A pickle runs code when it is loaded, with the rights of the step. Only values that ``save`` stored are ever
unpickled, never a file that merely looks like a pickle; load only what steps that you trust have saved.
"""

from __future__ import annotations

import json
import os
from typing import Any, Dict, Optional

from .client import Saved, agent, absolute
from .decode import Content, NeedsPath, decode
from .encode import ENCODERS
from .errors import IO, USAGE, KaleError, type_name
from .memory import Parts

__all__ = [
    "KaleError",
    "Saved",
    "fan_out",
    "inputs",
    "load",
    "load_path",
    "outputs",
    "save",
    "save_path",
]


def save(name: str, obj: Any, *, format: Optional[str] = None) -> Saved:
    """Saves an object as the artifact ``name``, and returns as soon as the agent has it as it is now.

    What is done to the object afterwards does not change what is saved. It is stored while the step goes on; if that
    fails, the step fails before its commit, whatever its own status. Memory is taken for that only where the container
    has room for it; where not, the object is stored before this returns. ``str()`` and ``digest()`` of what
    is returned wait for the digest.

    ``format`` insists on one of ``npy``, ``arrow``, ``safetensors``, ``bytes``, ``text``, ``json`` and ``pickle``; an
    object that would not come back the same from it is refused. Tensors on a device come back on the CPU.
    """
    if format is not None and format not in ENCODERS:
        raise KaleError(USAGE, f"cannot save {name}: there is no format '{format}'; use one of {', '.join(ENCODERS)}")
    here = agent()
    try:
        with Parts(here) as parts:
            for word in [format] if format else list(ENCODERS):
                content = ENCODERS[word](name, obj, parts)
                if content is not None:
                    return here.save(name, content, parts)
                parts.clear()
    except OSError as error:
        raise KaleError(IO, f"cannot save {name}: {error}; see whether there is room for a copy of it") from error
    raise KaleError(
        USAGE,
        f"cannot save {name} as {format}: this {type_name(obj)} would not come back the same; leave the format out",
    )


def load(name: str) -> Any:
    """Loads an artifact: the name of a declared input, or a reference such as ``prep:table``.

    What ``save`` stored comes back as it was. Of what was stored as a file, ``npy`` becomes an array, ``safetensors``
    a dict of arrays, ``parquet``, ``arrow``, ``csv`` and ``tsv`` a pandas DataFrame, ``json`` an object and ``text`` a
    string, where the library that this needs is there; all else, folders too, is a ``pathlib.Path``. Of several
    producers (``train[*]:model``) comes a list in the order of their shards. Runs the code in pickles that ``save``
    stored: see the module.

    Arrays can be written to, and writing to them changes nothing that is stored. What lies as it is in a store on a
    mounted file system is not copied: it is mapped at once and verified while the step goes on, and a step whose input
    turns out to be damaged is stopped and commits nothing.
    """
    here = agent()
    loaded = here.load(name, None, map=True)
    if loaded.files is not None:
        try:
            return decode(name, Content.of_maps(loaded.files), loaded.shape, loaded.format)
        except NeedsPath:
            # Such as a file without the library for it.
            loaded = here.load(name, None)
    if loaded.shape == "fan-in":
        with open(os.path.join(loaded.path, "index.json"), encoding="utf-8") as index:
            found = [
                (f"{name}, shard {one['shard']}", os.path.join(loaded.path, one["path"]), one["shape"], one["format"])
                for one in json.load(index)
            ]
        return [decode(label, Content.of_path(path), shape, format) for label, path, shape, format in found]
    return decode(name, Content.of_path(loaded.path), loaded.shape, loaded.format)


def save_path(name: str, path: "os.PathLike[str] | str") -> Saved:
    """Stores a file or folder as the artifact ``name``, and returns when it is stored."""
    return agent().save_path(name, absolute(path))


def load_path(reference: str, path: "os.PathLike[str] | str | None" = None) -> str:
    """Restores an artifact to ``path``, which must not exist, else where the agent chooses; returns where it lies.

    The agent's own places last as long as the step, or outside of a step as long as this process.
    """
    return agent().load(reference, None if path is None else absolute(path)).path


def fan_out(step: str, count: int) -> None:
    """Sets how many shards the step ``step`` downstream has."""
    agent().fan_out(step, count)


def inputs() -> Dict[str, str]:
    """The paths of this step's declared inputs, by name; none outside of a step."""
    return json.loads(os.environ.get("KALE_INPUTS") or "{}")


def outputs() -> Dict[str, str]:
    """The paths where this step's declared outputs are expected, by name; none outside of a step."""
    return json.loads(os.environ.get("KALE_OUTPUTS") or "{}")
