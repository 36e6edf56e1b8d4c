"""What TSTP, TTIN, TTOU and CONT do to an init that a shell has as a job, and to its command: T is stopped, S is not."""

import os
import signal
import subprocess
import sys
import time


def state(pid):
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(") ")[2][0]


def settled(*pids):
    """Their states, once they have stayed the same for a while."""
    seen, since = None, 0
    while seen is None or time.monotonic() < since + 0.2:
        now = [state(pid) for pid in pids]
        if now != seen:
            seen, since = now, time.monotonic()
        time.sleep(0.005)
    return "".join(seen)


words = [*sys.argv[1:], "sh", "-c", "echo $$; read line"]
# As a shell starts a job: in its session, and a group of its own.
init = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, process_group=0)
command = int(init.stdout.readline())
shown = []
for number in signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU:
    os.kill(init.pid, number)
    shown.append(settled(init.pid, command))
    os.kill(init.pid, signal.SIGCONT)
    again = settled(init.pid, command)
    assert again == "SS", again
init.stdin.close()
init.wait()
print(*shown)
