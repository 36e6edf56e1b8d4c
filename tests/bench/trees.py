"""Workload c: a nested folder of many small files of many types, and its later version."""

import shutil

import numpy as np

FILES = 20_000
BYTES = 400_000_000
# Of each type: its ending, what it is made of, and its share of the files.
TYPES = (
    ("txt", "words", 0.18),
    ("py", "words", 0.16),
    ("json", "words", 0.14),
    ("csv", "digits", 0.12),
    ("log", "words", 0.06),
    ("npy", "floats", 0.14),
    ("png", "noise", 0.12),
    ("zip", "noise", 0.08),
)
HEADS = {"png": b"\x89PNG\r\n\x1a\n", "zip": b"PK\x03\x04", "json": b'{"text": "'}
TAILS = {"json": b'"}\n'}
CHANGED_EVERY = 50


def words(random, count):
    """So many bytes of words whose frequencies are those of a language."""
    letters = random.integers(97, 123, (4096, 8), dtype=np.uint8)
    lengths = random.integers(2, 8, 4096)
    columns = np.arange(8)
    letters[columns > lengths[:, None]] = 0
    letters[columns == lengths[:, None]] = 32
    chosen = letters[np.minimum(random.zipf(1.2, count // 3 + 16), 4095)].ravel()
    return chosen[chosen != 0][:count].tobytes()


def digits(random, count):
    """So many bytes of numbers, eight characters each."""
    values = random.normal(500, 120, count // 8 + 1).clip(0, 999)
    text = np.full((len(values), 8), 44, dtype=np.uint8)
    scaled = (values * 1000).astype(np.int64)
    for column, power in enumerate((100000, 10000, 1000)):
        text[:, column] = 48 + scaled // power % 10
    text[:, 3] = 46
    for column, power in ((4, 100), (5, 10), (6, 1)):
        text[:, column] = 48 + scaled // power % 10
    text[7::8, 7] = 10
    return text.tobytes()[:count]


def floats(random, count):
    """So many bytes of normal float32."""
    return random.standard_normal(count // 4 + 1, dtype=np.float32).tobytes()[:count]


def noise(random, count):
    """So many bytes that nothing compresses."""
    return random.bytes(count)


MAKERS = {"words": words, "digits": digits, "floats": floats, "noise": noise}


def plan(seed, scale):
    """The path, type and size of each file."""
    random = np.random.default_rng([seed, 6])
    count = max(50, int(FILES * scale))
    shares = np.array([share for _, _, share in TYPES])
    kinds = random.choice(len(TYPES), count, p=shares / shares.sum())
    sizes = random.lognormal(0, 1.2, count)
    sizes = np.maximum(64, sizes * (BYTES * scale / sizes.sum())).astype(int)
    # 40 files a folder, three levels deep.
    return [
        (
            f"part{n // 1600:02}/group{n // 200 % 8}/set{n // 40 % 5}/{n:05}.{TYPES[kind][0]}",
            *TYPES[kind][:2],
            int(size),
        )
        for n, (kind, size) in enumerate(zip(kinds, sizes))
    ]


def write(root, files, seed):
    """Writes these files: the content of one kind is made at once and then cut."""
    for number, (kind, maker) in enumerate(sorted(MAKERS.items())):
        ours = [file for file in files if file[2] == kind]
        content = memoryview(maker(np.random.default_rng([*seed, number]), sum(file[3] for file in ours) + 64))
        offset = 0
        for path, ending, _, size in ours:
            target = root / path
            target.parent.mkdir(parents=True, exist_ok=True)
            with open(target, "wb") as stream:
                head, tail = HEADS.get(ending, b""), TAILS.get(ending, b"")
                if ending == "npy":
                    body = (size - 128) // 4 if size > 160 else 8
                    np.lib.format.write_array_header_1_0(
                        stream, {"descr": "<f4", "fortran_order": False, "shape": (body,)}
                    )
                    stream.write(content[offset : offset + 4 * body])
                else:
                    stream.write(head)
                    stream.write(content[offset : offset + size])
                    stream.write(tail)
            offset += size


def make_tree(folder, seed, scale):
    """Writes the folder, and it with every fiftieth file replaced."""
    files = plan(seed, scale)
    paths = {version: folder / version / "tree" for version in ("1", "2")}
    write(paths["1"], files, [seed, 7])
    shutil.copytree(paths["1"], paths["2"])
    write(paths["2"], files[::CHANGED_EVERY], [seed, 8])
    return paths
