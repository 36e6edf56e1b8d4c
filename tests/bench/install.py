"""Installs the peers that are not Python packages of the harness, where `--install` asks for it."""

import os
import subprocess
import sys
from pathlib import Path

DEBIAN = ("restic", "borgbackup", "rclone", "zstd", "b3sum", "xfsprogs")
HINT = f"apt-get install {' '.join(DEBIAN)}, or INSTALL=1 with make"


def install():
    """Calls apt-get and pip; what cannot be had is left out of the run and named in the report."""
    prefix = [] if os.geteuid() == 0 else ["sudo"]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    requirements = Path(__file__).resolve().parent / "requirements-peers.txt"
    commands = [
        [*prefix, "apt-get", "update", "-qq"],
        *([*prefix, "apt-get", "install", "-y", "-qq", name] for name in DEBIAN),
        [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", str(requirements)],
    ]
    for command in commands:
        try:
            subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"not installed: {error}", file=sys.stderr)
