"""Whether the command has the foreground of its terminal, and whether whoever started the init has it afterwards."""

import os
import pty
import sys

ASK = """
import os
try:
    print(os.tcgetpgrp(0) == os.getpgrp())
except OSError:
    print('no terminal')
"""

pid, terminal = pty.fork()
if pid == 0:
    words = [*sys.argv[1:], sys.executable, "-c", ASK]
    os.waitpid(os.posix_spawnp(words[0], words, os.environ), 0)
    exec(ASK)
    sys.stdout.flush()
    os._exit(0)
shown = b""
try:
    while part := os.read(terminal, 1000):
        shown += part
except OSError:
    pass
print(", ".join(shown.decode().splitlines()))
