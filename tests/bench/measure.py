"""What a process costs: its CPU time, which other work on the machine disturbs less than the clock's."""

from __future__ import annotations

import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds of CPU, its children's included, and the most memory it held, in bytes."""

    cpu: float
    memory: int


@dataclass(frozen=True, slots=True)
class Row:
    """One ratio: ours to theirs, which should be at most ``goal``."""

    what: str
    against: str
    ours: float
    theirs: float
    goal: float
    unit: str = "s of CPU"


def cost(*argv: str | Path, repeats: int = 3) -> Cost:
    """The cheapest of several runs. Raises SystemExit, with what it wrote, where one fails."""
    found = [_once(*map(str, argv)) for _ in range(repeats)]
    return Cost(min(each.cpu for each in found), min(each.memory for each in found))


def _once(*argv: str) -> Cost:
    # As people run it: what was compiled by the first run serves those that follow.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(argv, stdout=output, stderr=output, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            output.seek(0)
            raise SystemExit(f"{' '.join(argv)}\n{output.read().decode(errors='replace')}")
    return Cost(usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)
