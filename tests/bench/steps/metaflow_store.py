"""Saves files as blobs of Metaflow's content-addressed store, or loads them: save|load STORE PATH KEYS."""

import json
import os
import sys
from pathlib import Path

from metaflow.datastore.content_addressed_store import ContentAddressedStore
from metaflow.plugins.datastores.local_storage import LocalStorage


def files_of(path):
    """The files, named from the source's own base name on."""
    if path.is_file():
        return [path.name]
    return [str(Path(path.name, file.relative_to(path))) for file in sorted(path.rglob("*")) if file.is_file()]


def main():
    verb, store, path, keys = sys.argv[1], sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4])
    blobs = ContentAddressedStore("data", LocalStorage(root=store))
    if verb == "save":
        names = files_of(path)
        saved = blobs.save_blobs((path.parent / name).read_bytes() for name in names)
        keys.write_text(json.dumps([[name, one.key] for name, one in zip(names, saved)]))
        return
    names = {}
    for name, key in json.loads(keys.read_text()):
        names.setdefault(key, []).append(name)
    for key, blob in blobs.load_blobs(list(names)):
        for name in names[key]:
            target = path / name
            os.makedirs(target.parent, exist_ok=True)
            target.write_bytes(blob)


main()
