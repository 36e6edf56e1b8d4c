"""Which signals an init passes to its command, each once: all that can be caught, but those that stop."""

import os
import select
import subprocess
import sys
import time

# Not KILL, STOP, CHLD, TSTP, TTIN, TTOU, nor the two that the C library keeps to itself.
SIGNALS = [n for n in range(1, 65) if n not in (9, 17, 19, 20, 21, 22, 32, 33)]
COMMAND = """
import os, signal
heard = [n for n in range(1, 65) if n not in (9, 17, 19, 32, 33)]
signal.pthread_sigmask(signal.SIG_BLOCK, heard)
above = os.getppid()
print('ready', flush=True)
while os.getppid() == above:
    if info := signal.sigtimedwait(heard, 0.2):
        print(info.si_signo, flush=True)
"""


def start():
    init = subprocess.Popen([*sys.argv[1:], sys.executable, "-c", COMMAND], stdout=subprocess.PIPE)
    assert init.stdout.readline() == b"ready\n"
    return init


def said(init, seconds):
    return init.stdout.readline() if select.select([init.stdout], [], [], seconds)[0] else b""


init, passed, deadly, lost = start(), 0, [], []
for number in SIGNALS:
    os.kill(init.pid, number)
    heard = said(init, 5) if init.poll() is None else b""
    end = time.monotonic() + 0.5
    while not heard and init.poll() is None and time.monotonic() < end:
        time.sleep(0.01)
    if heard == b"%d\n" % number:
        passed += 1
    elif init.poll() is not None:
        deadly.append(number)
        init.stdout.close()
        init = start()
    else:
        lost.append((number, heard))
assert not said(init, 0), "a signal came twice"
init.kill()
init.wait()
print(f"{passed} of {len(SIGNALS)}", *(["dies of", *deadly] if deadly else []), *lost)
