"""Virtual machines of this test, as the kernel sees them: their processes, and what these listen to."""

from __future__ import annotations

import os
import time
from pathlib import Path

SSH_SECONDS = 600
"""A machine that is emulated takes a minute where nothing else runs, and more where something does."""


def qemus(pid: int = 0) -> list[int]:
    """The machines that run below a process, or below this one."""
    return [each for each, name in descendants(pid).items() if name.startswith("qemu-system")]


def descendants(pid: int = 0) -> dict[int, str]:
    """What runs below a process, or below this one: the kernel's name for each, 15 characters at most."""
    parents, names = dict[int, int](), dict[int, str]()
    for place in Path("/proc").iterdir():
        if place.name.isdigit():
            try:
                stat = (place / "stat").read_text()
            except OSError:
                continue
            name, _, rest = stat.partition("(")[2].rpartition(")")
            parents[int(place.name)] = int(rest.split()[1])
            if rest.split()[0] != "Z":
                names[int(place.name)] = name

    def below(each: int) -> bool:
        top = pid or os.getpid()
        each = parents.get(each, 0)
        while each not in (0, top):
            each = parents.get(each, 0)
        return each != 0

    return {each: name for each, name in names.items() if below(each)}


def gone(pids: list[int], seconds: float = 10) -> bool:
    until = time.monotonic() + seconds
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        if time.monotonic() > until:
            return False
        time.sleep(0.1)
    return True


def sockets(pid: int) -> list[str]:
    """The lines of /proc/net/tcp and tcp6 that are a process's."""
    own = {str(fd.readlink()) for fd in Path(f"/proc/{pid}/fd").iterdir()}
    lines = [
        line for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]
    ]
    return [line for line in lines if f"socket:[{line.split()[9]}]" in own]
