"""What all parts of a run share: the binary, the work folder, the meter, and what was said along the way."""

import subprocess
import sys
from pathlib import Path

from .measure import HERE, Command, Failed


class Setting:
    """One run of the harness."""

    def __init__(self, agent, place, meter, rounds, scale, seed):
        self.agent = Path(agent).resolve()
        self.place = place
        self.meter = meter
        self.rounds = rounds
        self.scale = scale
        self.seed = seed
        self.samples = []
        # What went wrong, and what was left out and why.
        self.wrong = []
        self.left_out = {}
        self._help = None

    def say(self, text):
        """Tells whoever watches."""
        print(text, file=sys.stderr, flush=True)

    def fail(self, where, error):
        """Notes that something is wrong: the run goes on, and ends with a code other than 0."""
        text = str(error)
        names = ((self.place.root, "…"), (self.agent, "kale-agent"), (sys.executable, "python"), (HERE, "bench"))
        for path, name in names:
            text = text.replace(str(path), name)
        self.wrong.append(f"{where}: {text}")
        self.say(f"WRONG {where}: {text}")

    def save_help(self):
        """What `kale-agent save --help` shows."""
        if self._help is None:
            self._help = self.meter.output(Command([self.agent, "save", "--help"]))
        return self._help

    def notes_time(self, clock):
        """A step's command that writes the time of day into a file, and is started in as little time as may be."""
        least = self.agent.with_name("least")
        return [least, "now", clock] if least.exists() else ["sh", "-c", 'date +%s.%N > "$1"', "sh", clock]

    def first_line(self, argv, env=None):
        """The first line that a command writes, or an empty text if it fails."""
        try:
            ended = subprocess.run(
                argv, capture_output=True, text=True, timeout=60, env={**self.meter.environment, **(env or {})}
            )
        except (OSError, subprocess.TimeoutExpired):
            return ""
        lines = (ended.stdout or ended.stderr).splitlines()
        return lines[0].strip() if lines else ""

    def attempt(self, where, action, *arguments):
        """Calls something and notes it if it fails; says whether it went well."""
        try:
            action(*arguments)
        except (Failed, OSError) as error:
            self.fail(where, error)
            return False
        return True
