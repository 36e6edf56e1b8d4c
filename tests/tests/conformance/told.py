"""Who is told of a signal: the command, a process of its group, a process that left it for a session of its own."""

import os
import signal
import subprocess
import sys

COMMAND = """
import os, signal, time
heard = []
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
def wait(who, seconds):
    if signal.sigtimedwait([signal.SIGUSR1], seconds):
        os.write(1, f'{who} '.encode())
ready, told = os.pipe()
for who in 'group', 'session':
    if os.fork() == 0:
        if who == 'session':
            os.setsid()
        os.write(told, b'.')
        wait(who, 1)
        os._exit(0)
for _ in range(2):
    os.read(ready, 1)
os.write(1, b'ready\\n')
wait('command', 1)
for _ in range(2):
    os.wait()
"""

init = subprocess.Popen([*sys.argv[1:], sys.executable, "-c", COMMAND], stdout=subprocess.PIPE, text=True)
assert init.stdout.readline() == "ready\n"
os.kill(init.pid, signal.SIGUSR1)
print(*sorted(init.stdout.read().split()))
sys.exit(init.wait())
