"""An S3 server on loopback for one peer's turn: SeaweedFS, on free ports, ended by its process."""

import json
import shutil
import signal
import socket
import subprocess
import time

from .measure import Command, Failed
from .place import die_with_parent

BUCKET = "kale"
KEY, SECRET = "kaleaccess", "kalesecret"
PORTS = (
    *("master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc"),
    *("s3.port", "s3.port.grpc", "admin.port", "admin.port.grpc"),
)
READY_SECONDS = 40
STOP_SECONDS = 10


def free_ports(count):
    """So many ports that nobody listens on now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


class Server:
    """A running server that keeps its data below a folder."""

    def __init__(self, folder, meter):
        self.folder = folder
        folder.mkdir()
        identity = {
            "name": "kale",
            "credentials": [{"accessKey": KEY, "secretKey": SECRET}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
        settings = folder.parent / "s3.json"
        settings.write_text(json.dumps({"identities": [identity]}))
        ports = dict(zip(PORTS, free_ports(len(PORTS))))
        self.endpoint = f"http://127.0.0.1:{ports['s3.port']}"
        argv = [shutil.which("weed"), "mini", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"]
        argv += ["-master.telemetry=false", "-admin.ui=false", "-webdav=false", "-s3.port.iceberg=0"]
        argv += ["-s3.port.lance=0", f"-s3.config={settings}", f"-bucket={BUCKET}"]
        argv += [f"-{name}={port}" for name, port in ports.items()]
        with open(folder.parent / "server.log", "wb") as log:
            self._process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=meter.environment,
                cwd=folder.parent,
                start_new_session=True,
                preexec_fn=lambda: die_with_parent(signal.SIGKILL),
            )

    def wait(self, meter, listing):
        """Returns when a command that lists the bucket succeeds."""
        end = time.monotonic() + READY_SECONDS
        while True:
            try:
                meter.run(Command(*listing), timeout=10)
                return
            except Failed as error:
                if self._process.poll() is not None or time.monotonic() > end:
                    self.stop()
                    raise Failed(f"the S3 server did not become ready: {error}") from error
                time.sleep(0.1)

    def stop(self):
        """Ends the server."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
