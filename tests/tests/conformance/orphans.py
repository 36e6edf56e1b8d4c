"""A command whose 300 grandchildren lose their parents at once: how many are the init's then, and reaped when they end."""

import os
import time

init, (held, hold) = os.getppid(), os.pipe()
for _ in range(300):
    if os.fork() == 0:
        if os.fork() == 0:
            os.close(hold)
            os.read(held, 1)
        os._exit(0)
    os.wait()
with open(f"/proc/{init}/task/{init}/children") as file:
    adopted = [pid for pid in file.read().split() if int(pid) != os.getpid()]
os.close(hold)
end, left = time.monotonic() + 20, adopted
while left and time.monotonic() < end:
    left = [pid for pid in left if os.path.exists(f"/proc/{pid}")]
    time.sleep(0.002)
print(len(adopted), "adopted,", len(adopted) - len(left), "reaped")
