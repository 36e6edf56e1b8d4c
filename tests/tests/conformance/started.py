"""In which of several states that an init may be started its command finds another one: signals blocked and ignored."""

import subprocess
import sys

STATES = {
    "PIPE as Python has it": "pass",
    "PIPE default": "signal.signal(signal.SIGPIPE, signal.SIG_DFL)",
    "ignored": "[signal.signal(n, signal.SIG_IGN) for n in (1, 2, 13, 15, 20, 21, 22, 40)]",
    "CHLD ignored": "signal.signal(signal.SIGCHLD, signal.SIG_IGN)",
    "blocked": "signal.pthread_sigmask(signal.SIG_BLOCK, [2, 10, 13, 15, 17, 22, 41])",
}
SHOW = ["grep", "-E", "^Sig(Blk|Ign|Cgt)", "/proc/self/status"]


def shown(state, words):
    become = f"import os, signal, sys\n{state}\nos.execvp(sys.argv[1], sys.argv[1:])"
    told = subprocess.Popen([sys.executable, "-c", become, *words], stdout=subprocess.PIPE)
    try:
        return told.communicate(timeout=2)[0], told.returncode
    except subprocess.TimeoutExpired:
        told.kill()
        told.wait()
        return b"", "hangs"


differs = []
for name, state in STATES.items():
    bare, below = shown(state, SHOW), shown(state, [*sys.argv[1:], *SHOW])
    if bare != below:
        differs.append(f"{name}: hangs" if below[1] == "hangs" else name)
print(", ".join(differs) or "none")
