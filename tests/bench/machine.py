"""What the report says about the machine: never its name, its users or its paths."""

import os
import platform
import re
from pathlib import Path

# What some kernels count while they report free pages to their host.
RETURNED = Path("/sys/module/page_reporting/parameters/reported_kib")


def cpu_model():
    """The processor's name."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return re.sub(r"\((R|TM)\)", "", line.split(":", 1)[1]).strip()
    return platform.machine()


def cores():
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0))


def memory_gib():
    """All memory, in GiB."""
    text = Path("/proc/meminfo").read_text()
    return round(int(re.search(r"MemTotal:\s+(\d+)", text).group(1)) / 2**20)


def file_system(path):
    """The type of the file system that a path lies on."""
    found, kind = "", "unknown"
    for line in Path("/proc/mounts").read_text().splitlines():
        _, point, type_name, *_ = line.split()
        point = point.replace("\\040", " ")
        inside = str(path) == point or str(path).startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(found):
            found, kind = point, type_name
    return kind


def returned():
    """The bytes of free memory that a virtual machine has given back to its host so far; None where nothing counts them."""
    try:
        return int(RETURNED.read_text()) * 1024
    except (OSError, ValueError):
        return None


def describe(path):
    """The machine as a dict."""
    return {
        "cpu": cpu_model(),
        "cores": cores(),
        "memory_gib": memory_gib(),
        "kernel": platform.release(),
        "file_system": file_system(path),
    }


def slug(machine):
    """A name for files."""
    words = re.sub(r"[^a-z0-9]+", "-", machine["cpu"].lower().replace("processor", "")).strip("-")
    return f"{machine['cores']}-cores-{words}"
