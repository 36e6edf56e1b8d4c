#!/usr/bin/env python3
"""Runs the flights pipeline on this machine: every step under kale-agent, all of them started at once.

prepare -> split -> train[0..11] -> evaluate -> report; with --months 3, train[0..2]

The agent of each step waits until what the step needs is committed in the store, so that nothing here orders
the steps. Needs Python 3.9 and no packages; the steps need what requirements.txt names.
"""

import argparse
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

PIPELINE = "flights"
MONTHS = 12
WAIT = "10m"
HERE = Path(__file__).resolve().parent
# An agent gives its command 30 s to end; more than that is no longer an orderly stop.
STOP_SECONDS = 35
# A docker client loses a signal that comes before its container has started.
ASK_AGAIN_SECONDS = 2
TAIL_LINES = 20
# Who steps in containers are where root starts them: nobody's id in any image.
ANYBODY = 12345
# Nothing is allowed, and a step can write to its store and to one folder in memory.
HARDENED = ["--network", "none", "--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL"]
HARDENED += ["--security-opt", "no-new-privileges"]

# Each step: what it needs to be committed, and the flags that say so to the agent.
STEPS = {
    "prepare": ([], ["--out", "flights"]),
    "split": (["prepare"], ["--in", "prepare:flights", "--out", "shards", "--fan-out", "train"]),
    "train": (["split"], ["--in", "split:shards/{month:02}.parquet", "--out", "metrics"]),
    "evaluate": (
        ["split", "train"],
        ["--in", "models=train[*]:model", "--in", "train[*]:metrics", "--in", "split:shards", "--out", "summary"],
    ),
    "report": (
        ["evaluate"],
        ["--in", "evaluate:quality", "--in", "evaluate:transfer", "--in", "evaluate:summary", "--out", "report"],
    ),
}


class Failed(Exception):
    """A job ended with an exit code other than 0."""

    def __init__(self, job):
        super().__init__(f"{job.name} ended with exit code {job.code}; its last lines, from {job.log}:")
        self.job = job


class Interrupted(Exception):
    """Somebody wants it to end."""


class Job:
    """One process: a step, or one shard of `train`."""

    def __init__(self, step, shard, argv, log, container):
        self.step = step
        self.name = step if shard is None else f"{step}[{shard}]"
        self.argv = argv
        self.log = log
        self.container = container
        self.process = None
        self.code = None

    def start(self, environment):
        with open(self.log, "wb") as log:
            # An own session: a Ctrl-C at the terminal reaches this program only, which then stops all in order.
            self.process = subprocess.Popen(
                self.argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, start_new_session=True
            )

    def running(self):
        if self.process is not None and self.code is None:
            self.code = self.process.poll()
        return self.process is not None and self.code is None

    def signal(self, number):
        if not self.running():
            return
        try:
            os.killpg(self.process.pid, number)
        except ProcessLookupError:
            pass
        if number == signal.SIGKILL and self.container:
            # The client is gone; the container is not.
            subprocess.run(["docker", "kill", self.container], capture_output=True, check=False)


class Progress:
    """One line a step: redrawn on a terminal, printed when it changes elsewhere."""

    MARKS = {"waiting": ".", "running": ">", "done": "+", "FAILED": "!", "stopped": "!"}

    def __init__(self, jobs):
        self.jobs = jobs
        self.began = time.monotonic()
        self.since = {}
        self.ended = {}
        self.shown = {}
        self.live = sys.stdout.isatty()
        self.drawn = 0

    def state(self, step):
        jobs = [job for job in self.jobs if job.step == step]
        codes = [job.code for job in jobs]
        if all(code == 0 for code in codes):
            return "done", ""
        if any(code for code in codes):
            return "FAILED", ""
        missing = [need for need in STEPS[step][0] if self.state(need)[0] != "done"]
        if missing:
            return "waiting", f"for {missing[-1]}"
        return "running", f"{codes.count(0)}/{len(jobs)}" if len(jobs) > 1 else ""

    def show(self, stopped=False):
        now = time.monotonic()
        lines = []
        for step in STEPS:
            state, detail = self.state(step)
            if stopped and state in ("waiting", "running"):
                state = "stopped"
            if state != "waiting":
                self.since.setdefault(step, now)
            if state in ("done", "FAILED", "stopped"):
                self.ended.setdefault(step, now)
            seconds = self.ended.get(step, now) - self.since.get(step, now)
            time_text = f"{seconds:6.1f} s" if step in self.since else ""
            line = f"  {self.MARKS[state]} {step:9} {state:8} {time_text:9} {detail}".rstrip()
            lines.append(line)
            if not self.live and self.shown.get(step) != (state, detail):
                print(f"{now - self.began:6.1f} s{line}", flush=True)
            self.shown[step] = (state, detail)
        if self.live:
            up = f"\x1b[{self.drawn}A" if self.drawn else ""
            sys.stdout.write(up + "".join(f"\x1b[2K{line}\n" for line in lines))
            sys.stdout.flush()
            self.drawn = len(lines)


def parse():
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n")[0],
        epilog="exit code: 0, that of the step that failed, or 130 after Ctrl-C",
    )
    option = parser.add_argument
    option("--store", default="target/flights/store", metavar="PATH", help="made if not there [%(default)s]")
    option("--run", metavar="NAME", help="name of the run [the first free of run-1, run-2, ...]")
    option("--agent", default="kale-agent", metavar="PATH", help="the agent's binary [%(default)s]")
    option("--python", metavar="PATH", help="one that has the requirements [this one; in containers, the image's]")
    option("--workers", type=int, default=os.cpu_count(), metavar="N", help="shards of train at a time [%(default)s]")
    option("--months", type=int, default=MONTHS, metavar="N", help="so many of the year, from January [%(default)s]")
    option("--work", default="target/flights", metavar="PATH", help="for logs and the picture [%(default)s]")
    option("--containers", metavar="IMAGE", help="run each step in a container of this image, with nothing allowed")
    option("--mount", action="append", default=[], metavar="PATH", help="of this machine, what containers may read")
    anybody = os.getuid() or ANYBODY
    option("--user", type=int, default=anybody, metavar="ID", help="who steps in containers are [%(default)s]")
    options = parser.parse_args()
    if options.workers < 1:
        parser.error("--workers must be at least 1")
    if not 2 <= options.months <= MONTHS:
        parser.error("--months must be 2 to 12: each month's model is tried on another one's flights")
    agent = options.agent if "/" in options.agent else which(options.agent)
    if not agent or not os.access(agent, os.X_OK):
        parser.error(f"there is no agent at {options.agent}: name the binary with --agent")
    options.agent = str(Path(agent).resolve())
    options.group = os.getgid() if options.user == os.getuid() else options.user
    options.store = str(Path(options.store).resolve())
    return options


def which(name):
    for folder in os.get_exec_path():
        if os.access(os.path.join(folder, name), os.X_OK):
            return os.path.join(folder, name)
    return None


def agent_output(options, *arguments):
    """What the agent writes to stdout; its own words on stderr go to ours."""
    command = [options.agent, *arguments]
    return subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout.decode()


def free_run(options):
    rows = json.loads(agent_output(options, "--json", "runs", PIPELINE, "--store", options.store))
    taken = {row["run"] for row in rows}
    return next(name for name in (f"run-{number}" for number in range(1, len(taken) + 2)) if name not in taken)


def give(store, user):
    """Lets the steps' user write to the store; only root has to, and can."""
    for folder, _, files in os.walk(store):
        for path in [folder, *(os.path.join(folder, file) for file in files)]:
            os.chown(path, user, user, follow_symlinks=False)


def stored_bytes(store):
    return sum(path.stat().st_size for path in Path(store).rglob("*") if path.is_file())


def make_job(options, work, step, shard):
    """The command of one job: the same for a process and in a container, but for the paths."""
    inside = options.containers is not None
    agent, store, scripts, python = (
        ("/kale/bin/kale-agent", "/store", Path("/flights"), options.python or "python3")
        if inside
        else (options.agent, options.store, HERE, options.python or sys.executable)
    )
    argv = [agent, "run", "--store", store, "--pipeline", PIPELINE, "--run", options.run, "--step", step]
    if shard is not None:
        argv += ["--shard", f"{shard}/{options.months}"]
    argv += [flag.format(month=(shard or 0) + 1) for flag in STEPS[step][1]]
    if step == "prepare" and options.months != MONTHS:
        argv += ["--param", f"months={options.months}"]
    argv += ["--wait", WAIT, "--", python, str(scripts / f"{step}.py")]
    suffix = "" if shard is None else f"-{shard:02}"
    container = None
    if inside:
        container = f"flights-{os.getpid()}-{step}{suffix}"
        argv = [
            *["docker", "run", "--rm", "--name", container, *HARDENED, "--user", f"{options.user}:{options.group}"],
            *["-e", "HOME=/tmp", "-e", "OMP_NUM_THREADS=1"],
            *["-v", f"{options.store}:/store", "-v", f"{options.agent}:{agent}:ro"],
            *["-v", f"{HERE}:/flights:ro"],
            *[word for path in options.mount for word in ("-v", f"{path}:{path}:ro")],
            *[options.containers, *argv],
        ]
    return Job(step, shard, argv, work / f"{step}{suffix}.log", container)


def drive(jobs, workers, progress):
    """Starts all jobs, the shards of a step as many at a time as there are workers, and waits for their end."""
    # One core a shard: the shards are what runs in parallel. It also makes sums of floats come out the same.
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    queue = list(jobs)
    asked = []
    # Only noted, and for all three also where a shell had them ignored: an exception just as a process is being
    # started would lose its id, and with it the way to end it.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: asked.append(number))
    while True:
        if asked:
            raise Interrupted
        running = Counter(job.step for job in jobs if job.running())
        for job in jobs:
            if job.code:
                raise Failed(job)
        for job in list(queue):
            if running[job.step] < workers:
                job.start(environment)
                running[job.step] += 1
                queue.remove(job)
        progress.show()
        if not running and not queue:
            return
        time.sleep(0.1)


def stop(jobs):
    """Asks every job to end, and ends those that do not."""
    for job in jobs:
        job.signal(signal.SIGTERM)
    now = time.monotonic()
    limit, again = now + STOP_SECONDS, now + ASK_AGAIN_SECONDS
    while any([job.running() for job in jobs]) and now < limit:
        time.sleep(0.05)
        now = time.monotonic()
        if now >= again:
            again = now + ASK_AGAIN_SECONDS
            for job in jobs:
                if job.container:
                    # Not TERM: the second one makes an agent kill its command.
                    job.signal(signal.SIGINT)
    for job in jobs:
        job.signal(signal.SIGKILL)
        if job.process is not None:
            job.process.wait()


def tour(options, picture):
    """Shows what is in the store now, by the commands that anybody would type."""
    run = f"{PIPELINE}/{options.run}"
    for arguments in (
        ["runs", PIPELINE],
        ["ls", run],
        ["head", f"{run}/prepare:flights", "-n", "5"],
        ["show", f"{run}/evaluate"],
        ["log", f"{run}/train[{options.months // 2}]"],
        ["load", f"{run}/report:report/report.png", str(picture)],
    ):
        print(f"\n$ kale-agent {shlex.join(arguments)} --store {shlex.quote(options.store)}", flush=True)
        if picture.exists() and arguments[0] == "load":
            picture.unlink()
        subprocess.run([options.agent, *arguments, "--store", options.store], check=True)


def main():
    options = parse()
    print(agent_output(options, "init", options.store), end="")
    options.run = options.run or free_run(options)
    work = Path(options.work).resolve() / options.run
    work.mkdir(parents=True, exist_ok=True)
    before = stored_bytes(options.store)
    if options.containers and options.user != os.getuid():
        give(options.store, options.user)

    jobs = []
    for step in STEPS:
        for shard in range(options.months) if step == "train" else [None]:
            jobs.append(make_job(options, work, step, shard))
    print(f"{PIPELINE}/{options.run}: {len(jobs)} jobs, their output goes to {work}", flush=True)
    progress = Progress(jobs)
    try:
        drive(jobs, options.workers, progress)
    except (Failed, Interrupted) as reason:
        # Further signals are still only noted: nothing keeps the processes from being stopped.
        progress.show(stopped=True)
        print("stopping what was started ...", flush=True)
        stop(jobs)
        if isinstance(reason, Interrupted):
            print("interrupted", file=sys.stderr)
            return 130
        print(reason, file=sys.stderr)
        text = reason.job.log.read_text(errors="replace").splitlines()
        print("\n".join(f"  | {line}" for line in text[-TAIL_LINES:]), file=sys.stderr)
        return reason.job.code if reason.job.code > 0 else 128 - reason.job.code
    seconds = time.monotonic() - progress.began
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)

    picture = work / "report.png"
    tour(options, picture)
    after = stored_bytes(options.store)
    print(f"\nthe picture is at {picture}")
    print(f"this run took {seconds:.1f} s and stored {after - before:,} bytes ({before:,} before, {after:,} after)")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except subprocess.CalledProcessError as error:
        # The agent has said why.
        sys.exit(error.returncode if error.returncode > 0 else 128 - error.returncode)
