"""Workloads a and d: an array, and a checkpoint in the safetensors format with its later versions."""

import json
import struct

import numpy as np

ARRAY_ELEMENTS = 1 << 28
CHUNK = 1 << 22
LAYERS = 12
# In units of the square of the width: 12 a layer and two embeddings make 1 GiB at full width.
WIDTH = 1064
EMBEDDED = 46.5
CHANGED_LAYER = 7


def write_noise(stream, random, count, spread=1.0):
    """Writes so many normal float32."""
    while count > 0:
        now = min(count, CHUNK)
        values = random.standard_normal(now, dtype=np.float32)
        if spread != 1.0:
            values *= np.float32(spread)
        stream.write(values.data)
        count -= now


def make_array(folder, seed, scale):
    """Writes a.npy."""
    path = folder / "1" / "array.npy"
    path.parent.mkdir()
    count = max(1024, int(ARRAY_ELEMENTS * scale))
    with open(path, "wb") as stream:
        header = {"descr": "<f4", "fortran_order": False, "shape": (count,)}
        np.lib.format.write_array_header_1_0(stream, header)
        write_noise(stream, np.random.default_rng([seed, 1]), count)
    return {"1": path}


def tensors(scale):
    """The names and shapes of the 153 tensors, in order."""
    width = max(16, int(WIDTH * scale**0.5))
    rows = int(EMBEDDED * width)
    shapes = {"embed.weight": (rows, width)}
    for layer in range(LAYERS):
        sizes = {
            "norm1.weight": (width,),
            "norm1.bias": (width,),
            "query.weight": (width, width),
            "key.weight": (width, width),
            "value.weight": (width, width),
            "out.weight": (width, width),
            "norm2.weight": (width,),
            "norm2.bias": (width,),
            "up.weight": (4 * width, width),
            "up.bias": (4 * width,),
            "down.weight": (width, 4 * width),
            "down.bias": (width,),
        }
        shapes.update({f"layer{layer}.{name}": shape for name, shape in sizes.items()})
    for name in ("norm.weight", "norm.bias", "head.bias", "pool.weight", "pool.bias", "scale", "shift"):
        shapes[name] = (width,)
    shapes["head.weight"] = (rows, width)
    return shapes


def changed(shapes):
    """The nine tensors that a later version changes: all of one layer that a training step moves."""
    prefix = f"layer{CHANGED_LAYER}."
    return [name for name in shapes if name.startswith(prefix) and "norm" not in name and "down.bias" not in name] + [
        f"{prefix}norm1.weight",
        f"{prefix}norm1.bias",
    ]


def write_checkpoint(path, shapes, seeds):
    """Writes a safetensors file; the seed of each tensor decides its content."""
    path.parent.mkdir()
    offset, header = 0, {}
    for name, shape in shapes.items():
        size = 4 * int(np.prod(shape))
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as stream:
        stream.write(struct.pack("<Q", len(text)) + text)
        for name, shape in shapes.items():
            write_noise(stream, np.random.default_rng(seeds[name]), int(np.prod(shape)), 0.02)


def make_checkpoint(folder, seed, scale):
    """Writes the checkpoint, one with nine tensors changed, one with a tensor inserted in front."""
    shapes = tensors(scale)
    paths = {version: folder / version / "checkpoint.safetensors" for version in ("1", "2", "4")}
    seeds = {name: [seed, 4, number] for number, name in enumerate(shapes)}
    write_checkpoint(paths["1"], shapes, seeds)
    write_checkpoint(paths["2"], shapes, {**seeds, **{name: [*seeds[name], 2] for name in changed(shapes)}})
    width = shapes["scale"][0]
    inserted = {"adapter.weight": (max(1, width // 64), width), **shapes}
    write_checkpoint(paths["4"], inserted, {**seeds, "adapter.weight": [seed, 4, len(shapes)]})
    return paths
