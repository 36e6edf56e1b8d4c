"""Runs commands and says what they cost: seconds, seconds with the sync after it, CPU seconds, peak memory."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Dict, List, Optional

from . import machine
from .place import die_with_parent

HERE = Path(__file__).resolve().parent
# Longer than the slowest peer needs for a GiB; a command that takes longer is wrong.
TIMEOUT = 900
PASSED_ON = ("PATH", "OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "SSL_CERT_FILE")
LEAST_PREFAULT = 256 << 20


class Failed(Exception):
    """A command ended with a code other than 0, or what it made is wrong."""


@dataclass
class Command:
    """A command of a peer.

    `clock` names a file into which the command writes the time of day: seconds count until then instead of until its
    end. `report` names a file into which it writes JSON of what it measured itself; its `seconds` take the place of
    the process's.
    """

    argv: List[str]
    env: Dict[str, str] = field(default_factory=dict)
    cwd: Optional[str] = None
    clock: Optional[Path] = None
    report: Optional[Path] = None


class Meter:
    """Starts commands one at a time, each in the same surroundings."""

    def __init__(self, place):
        self.place = place
        self.environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        # Nothing of the machine's own settings, and nobody asks a cloud who it is.
        self.environment.update(
            HOME=str(place.root / "home"),
            LC_ALL="C.UTF-8",
            AWS_EC2_METADATA_DISABLED="true",
            AWS_METADATA_ENDPOINT="http://127.0.0.1:1",
        )
        self._spawner = subprocess.Popen(
            [sys.executable, "-I", "-S", HERE / "spawner.py"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=lambda: die_with_parent(signal.SIGTERM),
        )

    def close(self):
        """Ends the spawner, and with it a command that still runs."""
        self._spawner.terminate()
        self._spawner.wait()
        self._spawner.stdin.close()
        self._spawner.stdout.close()

    def run(self, command, timeout=TIMEOUT):
        """Runs a command as it is, and returns what it cost; raises Failed if it fails."""
        out, err = self.place.root / "out" / "stdout", self.place.root / "out" / "stderr"
        request = {
            "argv": [str(word) for word in command.argv],
            "env": {**self.environment, **{name: str(value) for name, value in command.env.items()}},
            "cwd": str(command.cwd or self.place.root),
            "stdout": str(out),
            "stderr": str(err),
            "timeout": timeout,
        }
        try:
            self._spawner.stdin.write(json.dumps(request) + "\n")
            self._spawner.stdin.flush()
            answer = self._spawner.stdout.readline()
        except KeyboardInterrupt:
            # The command ends before anybody clears away what it works on.
            self.close()
            raise
        if not answer:
            raise Failed("the spawner ended")
        cost = json.loads(answer)
        if cost["code"] != 0:
            said = (out.read_text(errors="replace") + err.read_text(errors="replace")).strip() if err.exists() else ""
            why = cost["error"] or said[-800:] or "no message"
            raise Failed(f"{' '.join(request['argv'][:4])} …: code {cost['code']}: {why}")
        return cost

    def output(self, command):
        """What a command writes to standard output."""
        self.run(command)
        return (self.place.root / "out" / "stdout").read_text()

    def timed(self, command, size):
        """Measures a command that handles `size` bytes: memory touched before, everything synced before and after."""
        self.place.sync()
        self.prefault(size)
        for path in (command.clock, command.report):
            if path is not None:
                Path(path).unlink(missing_ok=True)
        before = machine.returned()
        cost = self.run(command)
        sync = self.place.sync()
        if before is not None:
            cost["returned"] = machine.returned() - before
        cost["wall"] = cost["seconds"]
        if command.clock is not None:
            cost["seconds"] = float(Path(command.clock).read_text()) - cost["started"]
        if command.report is not None:
            cost.update(json.loads(Path(command.report).read_text()))
        sample = {key: value for key, value in cost.items() if key not in ("code", "error", "started")}
        sample["synced"] = sample["seconds"] + sync
        return sample

    def prefault(self, size):
        """Has the machine's memory at hand for what comes next, but never more than half of what is free."""
        wanted = min(max(3 * size, LEAST_PREFAULT), available() // 2)
        self.run(Command([sys.executable, "-I", "-S", HERE / "prefault.py", str(wanted), self.place.root / "prefault"]))

    def floor(self):
        """The peak memory that is seen of a command that needs none."""
        return self.run(Command(["true"]))["rss"]


def available():
    """The bytes of memory that are free or can be freed."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return LEAST_PREFAULT * 2
