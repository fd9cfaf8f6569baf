"""A built image as tests see it, whatever engine runs it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

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
    caller sets. On a cluster, ``options`` are words for Apptainer, and ``through`` tells how the command
    starts: by itself or through the run script; or the image's own test or help is asked for.
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
    options: tuple[str, ...] = ()
    through: Literal["exec", "run", "test", "run-help"] = "exec"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a call ended. ``stopped`` says which bound ended it, if one did."""

    status: int
    output: str
    seconds: float
    stopped: str = ""
    sizes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Entry:
    """One path in one layer, without its leading slash.

    ``head`` holds the first bytes of a regular file, and all of dpkg's status file; ``capable`` says
    that running the file gives it Linux capabilities.
    """

    path: str
    mode: int
    is_file: bool
    head: bytes = b""
    capable: bool = False


class Subject(Protocol):
    """An image under test."""

    local: bool  # whether the engine sees this machine's folders

    def run(self, call: Call) -> Outcome:
        """Run one command in a fresh container that is gone afterwards."""

    def labels(self) -> Mapping[str, str]:
        """The image's labels."""

    def settings(self) -> str:
        """The image's whole configuration and history, as text."""

    def knows_base(self) -> bool:
        """Whether it can be told which layers the base image brought."""

    def entries(self) -> Iterator[Entry]:
        """Every path of every layer above the base image's, with those that a later layer deletes."""
