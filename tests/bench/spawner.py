"""Starts one child at a time for the harness, and says what it cost.

Reads a request a line from standard input, writes an answer a line. It exists because a child inherits the peak
memory of whoever starts it: this process stays small, so that what is measured is the child's own. The answer's peak
is that of the largest process of the child's tree, not their sum. The tree is a process group, ended as a whole when
its time is over.
"""

import json
import os
import signal
import sys
import time


class TimeIsUp(Exception):
    """The child took longer than it may."""


class Ended(Exception):
    """The harness wants all of it gone."""


def alarm(_signal, _frame):
    raise TimeIsUp


def stop(_signal, _frame):
    raise Ended


def kill(child):
    """Ends the child's process group and collects the child."""
    try:
        os.killpg(child, signal.SIGKILL)
    except ProcessLookupError:
        pass
    return os.wait4(child, 0)


def run(request):
    os.chdir(request["cwd"])
    actions = [(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)]
    for number, path in ((1, request["stdout"]), (2, request["stderr"])):
        actions.append((os.POSIX_SPAWN_OPEN, number, path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644))
    began, wall = time.perf_counter(), time.time()
    try:
        child = os.posix_spawnp(request["argv"][0], request["argv"], request["env"], file_actions=actions, setpgroup=0)
    except OSError as error:
        return {"code": 127, "error": str(error)}
    timed_out = False
    try:
        signal.setitimer(signal.ITIMER_REAL, request["timeout"])
        _, status, usage = os.wait4(child, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
    except TimeIsUp:
        _, status, usage = kill(child)
        timed_out = True
    except Ended:
        kill(child)
        raise
    seconds = time.perf_counter() - began
    code = os.waitstatus_to_exitcode(status)
    return {
        "code": code,
        "error": f"ended after {request['timeout']} s" if timed_out else None,
        "seconds": seconds,
        "started": wall,
        "cpu": usage.ru_utime + usage.ru_stime,
        "rss": usage.ru_maxrss * 1024,
    }


def main():
    signal.signal(signal.SIGALRM, alarm)
    signal.signal(signal.SIGTERM, stop)
    for line in sys.stdin:
        print(json.dumps(run(json.loads(line))), flush=True)


if __name__ == "__main__":
    try:
        main()
    except Ended:
        pass
