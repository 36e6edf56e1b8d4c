"""The workloads: made once from a seed below the work folder, and used again by every later run.

The same seed and scale give the same bytes with the same versions of the libraries. A workload is made under another
name and renamed when it is whole.
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Dict

from .place import source_bytes

# Changes whenever the same seed gives other bytes than before.
EDITION = 1
WHAT = {
    "a": "one float32 array of normal noise, .npy, 1 GiB",
    "b": "the same table as CSV (784 MB) and as snappy Parquet (307 MB)",
    "c": "20,000 nested files of many types, 400 MB",
    "d": "a checkpoint of 153 tensors, safetensors, 1 GiB",
    "e": "a random forest of scikit-learn, pickled, 196 MB",
}
VERSIONS = {
    "b": {"2": "1 % of the rows edited in clusters, 2 % appended"},
    "c": {"2": "2 % of the files changed"},
    "d": {"2": "9 tensors changed, 5.06 % of the bytes", "4": "one tensor inserted in front"},
}


@dataclass
class Workload:
    """What is saved: the first version, and the later ones by their number."""

    name: str
    source: Path
    versions: Dict[str, Path]

    @property
    def size(self):
        """The bytes of the first version."""
        return source_bytes(self.source)


def make(name, root, seed, scale):
    """Makes a workload if it is not there yet."""
    from . import arrays, models, tables, trees

    makers = {
        "a": arrays.make_array,
        "b": tables.make_tables,
        "c": trees.make_tree,
        "d": arrays.make_checkpoint,
        "e": models.make_model,
    }
    folder = Path(root) / f"edition{EDITION}-seed{seed}-scale{scale:g}" / name
    if not (folder / "made.json").exists():
        unfinished = folder.with_name(name + ".part")
        shutil.rmtree(unfinished, ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)
        unfinished.mkdir(parents=True)
        paths = makers[name](unfinished, seed, scale)
        made = {version: str(path.relative_to(unfinished)) for version, path in paths.items()}
        (unfinished / "made.json").write_text(json.dumps(made))
        unfinished.rename(folder)
    made = json.loads((folder / "made.json").read_text())
    paths = {version: folder / path for version, path in made.items()}
    return Workload(name, paths.pop("1"), paths)


def warm(path):
    """Reads everything once, so that it is in the page cache."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    for file in files:
        with open(file, "rb", buffering=0) as stream:
            while stream.read(8 << 20):
                pass
