"""A built image as tests see it, whatever engine runs it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

from imagefactory.model.report import MemoryReport

MIB = 1 << 20

# A user that no image knows, as on a cluster.
SOMEBODY = (12345, 54321)


@dataclass(frozen=True, slots=True)
class Mount:
    """A folder of this machine that the image sees at ``target``."""

    source: Path
    target: str
    writable: bool = False


@dataclass(frozen=True, slots=True)
class Call:
    """One command, and the bounds it runs within. Sizes in bytes, times in seconds.

    It runs on a read-only root without network; its working folder is empty, writable and bounded.
    ``expect`` names files in that folder whose sizes are wanted afterwards; ``environment`` is what its
    caller sets.
    """

    command: Sequence[str]
    user: tuple[int, int] = SOMEBODY
    mounts: tuple[Mount, ...] = ()
    expect: tuple[str, ...] = ()
    time_limit: float = 60
    memory_limit: int = 512 * MIB
    write_limit: int = 16 * MIB
    in_folder: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a call ended. ``stopped`` says which bound ended it, if one did."""

    status: int
    output: str
    seconds: float
    stopped: str = ""
    sizes: Mapping[str, int] = field(default_factory=dict)


class Subject(Protocol):
    """An image under test."""

    local: bool  # whether the engine sees this machine's folders

    def run(self, call: Call) -> Outcome:
        """Run one command in a fresh start of the image, of which nothing is left afterwards."""

    def labels(self) -> Mapping[str, str]:
        """The image's labels."""


@runtime_checkable
class MemoryBounded(Protocol):
    """An image under test whose memory is bounded as well as the machine can, and not by an engine."""

    @property
    def memory(self) -> MemoryReport:
        """How it is."""
