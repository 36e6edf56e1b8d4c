"""A pipeline with a loop, run by KFP's own local runner: `squares.py compile FILE IMAGE` or `squares.py run FILE HOW JSON`.

Each square is a task of a loop. What it returns is collected by KFP; what it leaves for the agent is an input of `total`.
"""

import json
import sys
from typing import List

from kfp import compiler, components, dsl, local


def count(n: int) -> List[int]:
    return list(range(n))


def square(index: int, n: int, made: dsl.Output[dsl.Dataset]) -> int:
    import os

    with open(made.path, "w") as file:
        file.write(f"{index}\n" * 10)
    with open(os.environ["KALE_OUT_PART"], "w") as file:
        file.write(f"part {index} of {n}\n")
    return index * index


def total(values: List[int], made: dsl.Input[List[dsl.Dataset]]) -> str:
    import json
    import os

    def text(*path):
        with open(os.path.join(*path)) as file:
            return file.read()

    parts = os.environ["KALE_IN_PARTS"]
    seen = {
        "values": [int(value) for value in values],
        "lines": sum(len(text(one.path).split()) for one in made),
        "parts": [text(parts, shard) for shard in sorted(os.listdir(parts)) if shard.isdigit()],
        "init": text("/proc", str(os.getppid()), "cmdline").split("\0")[0],
        "first": text("/proc/1/cmdline").split("\0")[0],
    }
    return json.dumps(seen)


def build(image):
    step = dsl.component(base_image=image, install_kfp_package=False)
    counts, squares, totals = step(count), step(square), step(total)

    @dsl.pipeline(name="squares")
    def pipeline(n: int = 3) -> str:
        numbers = counts(n=n)
        with dsl.ParallelFor(numbers.output) as index:
            one = squares(index=index, n=n)
        return totals(values=dsl.Collected(one.outputs["Output"]), made=dsl.Collected(one.outputs["made"])).output

    return pipeline


def run(path, how, settings):
    pipeline = components.load_component_from_file(path)
    runner = {"subprocess": local.SubprocessRunner, "docker": local.DockerRunner}[how]
    if "mounts" in settings:
        from docker.types import Mount

        binds = settings.pop("mounts")
        settings["mounts"] = [Mount(at, source, type="bind", read_only=only) for source, at, only in binds]
    local.init(runner(**settings), pipeline_root="outputs")
    print(f"\nresult {pipeline(n=3).output}")


if __name__ == "__main__":
    if sys.argv[1] == "compile":
        compiler.Compiler().compile(build(sys.argv[3]), sys.argv[2])
    else:
        run(sys.argv[2], sys.argv[3], json.loads(sys.argv[4]))
