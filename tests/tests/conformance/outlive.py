"""What lives on: the command of an init that is killed, and what a command has left in its group and out of it."""

import os
import subprocess
import sys
import time


def lives(pid):
    """A process that has ended and is waited for by nobody lives no more."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(") ")[2][0] != "Z"
    except FileNotFoundError:
        return False


def living(pids):
    """Those that still live after a while, and do no more when this returns."""
    end, left = time.monotonic() + 0.3, pids
    while left and time.monotonic() < end:
        left = [pid for pid in left if lives(pid)]
        time.sleep(0.005)
    for pid in left:
        os.kill(pid, 9)
    return left


# Leaves one process in its group, and one that has left it.
LEAVE = """
import os, time
ready, told = os.pipe()
for leave in False, True:
    pid = os.fork()
    if pid == 0:
        if leave:
            os.setsid()
        os.close(1)
        os.write(told, b'.')
        time.sleep(60)
    print(pid)
os.read(ready, 1)
os.read(ready, 1)
raise SystemExit(3)
"""


def start(*command):
    return subprocess.Popen([*sys.argv[1:], *command], stdout=subprocess.PIPE, text=True)


init = start("sh", "-c", "echo $$; exec sleep 60")
command = int(init.stdout.readline())
init.kill()
init.wait()
killed = living([command])
init = start(sys.executable, "-c", LEAVE)
group, session = map(int, init.stdout.read().split())
assert init.wait() == 3
left = living([group, session])
names = {command: "command", group: "group", session: "session"}
print(*([names[pid] for pid in killed + left] or ["none"]))
