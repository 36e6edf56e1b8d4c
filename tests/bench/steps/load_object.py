"""Times loading a saved object, and compares it if asked: KIND SOURCE HOW TARGET REPORT COMPARE.

`seconds` is until the object is usable; of arrays, until they are written to. `whole` has one full pass over the arrays
as well.
"""

import json
import pickle
import sys
import time


def read_tensors(path):
    """The tensors of a safetensors file, read into memory."""
    import numpy

    with open(path, "rb") as stream:
        header = json.loads(stream.read(int.from_bytes(stream.read(8), "little")))
        content = bytearray(max(one["data_offsets"][1] for one in header.values()))
        stream.readinto(content)
    arrays = {}
    for name, one in header.items():
        start, end = one["data_offsets"]
        arrays[name] = numpy.frombuffer(memoryview(content)[start:end], numpy.float32).reshape(one["shape"])
    return arrays


def loader(kind, how, target):
    """A function that loads the object; what it needs is imported before the clock starts."""
    if kind in ("array", "checkpoint"):
        import numpy
    elif kind == "table":
        import pandas  # noqa: F401
    else:
        import sklearn.ensemble  # noqa: F401
    if how == "kale_agent":
        import kale_agent

        return lambda: kale_agent.load("save:obj")
    if how == "joblib":
        import joblib

        return lambda: joblib.load(target)
    if how == "kale marshal":
        from kale import marshal

        marshal.set_data_dir(target)
        return lambda: marshal.load("obj")
    if kind == "array":
        return lambda: numpy.load(target)
    if kind == "checkpoint":
        return lambda: read_tensors(target)

    def unpickle():
        with open(target, "rb") as stream:
            return pickle.load(stream)

    return unpickle


def same(kind, source, value):
    """Whether the loaded object is the one of the workload."""
    if kind == "array":
        import numpy

        return numpy.array_equal(numpy.load(source), value)
    if kind == "checkpoint":
        wanted = read_tensors(source)
        return list(wanted) == list(value) and all((wanted[name] == value[name]).all() for name in wanted)
    if kind == "table":
        import pandas

        return pandas.read_parquet(source).equals(value)
    with open(source, "rb") as stream:
        wanted = pickle.load(stream)
    table = [[number * 40.0 + column for column in range(wanted.n_features_in_)] for number in range(25)]
    return (wanted.predict(table) == value.predict(table)).all()


def main():
    kind, source, how, target, report, compare = sys.argv[1:]
    load = loader(kind, how, target)
    began = time.perf_counter()
    value = load()
    arrays = {"array": lambda: [value], "checkpoint": lambda: value.values()}.get(kind, list)()
    for array in arrays:
        array.flat[0] = array.flat[0]
    seconds = time.perf_counter() - began
    for array in arrays:
        array.sum()
    whole = time.perf_counter() - began
    if compare == "compare" and not same(kind, source, value):
        sys.exit("the loaded object differs from the one that was saved")
    with open(report, "w") as stream:
        json.dump({"seconds": seconds, "whole": whole}, stream)


main()
