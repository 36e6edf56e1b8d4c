"""Makes an object of a workload and times how long saving it blocks: KIND SOURCE HOW TARGET REPORT."""

import json
import pickle
import shutil
import sys
import time


def made(kind, source):
    """The live object; of a checkpoint, the file that it is."""
    if kind == "checkpoint":
        return source
    if kind == "array":
        import numpy

        return numpy.load(source)
    if kind == "table":
        import pandas

        return pandas.read_parquet(source)
    with open(source, "rb") as stream:
        return pickle.load(stream)


def saver(kind, how, target):
    """A function that saves an object; what it needs is imported before the clock starts."""
    if how == "kale_agent":
        import kale_agent

        if kind == "checkpoint":
            return lambda value: kale_agent.save_path("obj", value)
        return lambda value: kale_agent.save("obj", value)
    if how == "joblib":
        import joblib

        return lambda value: joblib.dump(value, target)
    if how == "kale marshal":
        from kale import marshal

        marshal.set_data_dir(target)
        return lambda value: marshal.save(value, "obj")
    if kind == "checkpoint":
        return lambda value: shutil.copyfile(value, target)
    if kind == "array":
        import numpy

        return lambda value: numpy.save(target, value)

    def dump(value):
        with open(target, "wb") as stream:
            pickle.dump(value, stream, protocol=pickle.HIGHEST_PROTOCOL)

    return dump


def main():
    kind, source, how, target, report = sys.argv[1:]
    value, save = made(kind, source), saver(kind, how, target)
    began = time.perf_counter()
    save(value)
    seconds = time.perf_counter() - began
    with open(report, "w") as stream:
        json.dump({"seconds": seconds}, stream)


main()
