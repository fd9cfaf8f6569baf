"""Control groups that bound memory, of versions 1 and 2: made beside or below the one that we are in.

Their names say whose they are, so that those of runs that were killed are known, and only those.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

PROC = Path("/proc")
MAX_PROCESSES = 2048  # as the Docker Engine is told
PATIENCE_SECONDS = 2.0
_COUNT = itertools.count()
_NAME = re.compile(r"imagefactory-memory-(\d+)-(\d+)-(\d+)-(\d+)-\d+")


def own_name() -> str:
    """A name that says whose it is: the user, the process (where, which, and since when) and a number."""
    pid = os.getpid()
    return f"imagefactory-memory-{os.getuid()}-{_space()}-{pid}-{_started(pid)}-{next(_COUNT)}"


def abandoned(name: str) -> bool:
    """Whether it is a name that a process of this user gave which is no more. Never true of other names."""
    match = _NAME.fullmatch(name)
    if match is None:
        return False
    user, space, pid, started = map(int, match.groups())
    return (user, space) == (os.getuid(), _space()) and _started(pid) != started


def _space() -> int:
    """Where numbers of processes mean what they mean here: containers may share a tree of groups."""
    return (PROC / "self" / "ns" / "pid").stat().st_ino


def _started(pid: int) -> int | None:
    """When a process started, in ticks since the machine did; None where it is no more."""
    try:
        facts = (PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return None if facts[0] in "ZX" else int(facts[19])


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """A tree of groups that can bound memory: where it is mounted, and the group in it that we are in."""

    version: int
    mount: Path
    own: Path

    def parents(self) -> Iterator[Path]:
        """The groups below which one can be made, the best first."""
        if self.version == 1 or _offers(self.own, ask=True):
            yield self.own
        # Version 2 lets no group with processes have bounded ones below it, but for the topmost.
        if self.version == 2 and self.own != self.mount and _offers(self.own.parent, ask=False):
            yield self.own.parent

    def sweep(self) -> None:
        """Remove the groups that our former runs left when they were killed."""
        for folder, names, _ in os.walk(self.mount):
            for name in filter(abandoned, names):
                with contextlib.suppress(OSError):  # what is still in it ends just now: the next run's
                    (Path(folder) / name).rmdir()


def hierarchies(proc: Path = PROC / "self") -> list[Hierarchy]:
    """Those of this machine, version 2 first."""
    try:
        lines = (proc / "cgroup").read_text().splitlines()
        mounts = (proc / "mountinfo").read_text().splitlines()
    except OSError:
        return []
    ours: dict[int, PurePosixPath] = {}
    for number, controllers, path in (line.split(":", 2) for line in lines):
        if number == "0" and not controllers:
            ours[2] = PurePosixPath(path)
        elif "memory" in controllers.split(","):
            ours[1] = PurePosixPath(path)
    found: dict[int, Hierarchy] = {}
    for line in mounts:
        here, _, there = line.partition(" - ")
        root, point = here.split()[3:5]
        kind, _, options = there.split(maxsplit=2)
        version = {"cgroup": 1, "cgroup2": 2}.get(kind, 0)
        if version not in ours or (version == 1 and "memory" not in options.split(",")):
            continue
        if ours[version].is_relative_to(root):
            own = Path(point) / ours[version].relative_to(root)
            found.setdefault(version, Hierarchy(version, Path(point), own))
    return [found[version] for version in sorted(found, reverse=True)]


def _offers(folder: Path, *, ask: bool) -> bool:
    """Whether groups below ``folder`` can bound memory (version 2), if need be once that is asked for."""
    try:
        if "memory" not in (folder / "cgroup.controllers").read_text().split():
            return False
        control = folder / "cgroup.subtree_control"
        if "memory" in control.read_text().split():
            return True
        if ask:
            control.write_text("+memory")
    except OSError:
        return False
    return ask


class Group:
    """One group of ours."""

    def __init__(self, folder: Path, version: int) -> None:
        self.folder = folder
        self._version = version

    @property
    def members(self) -> Path:
        """The file that a process joins by writing its number to it."""
        return self.folder / "cgroup.procs"

    def limit(self, memory: int) -> None:
        """Bound what all its processes take together, without swapping. Raises OSError."""
        first, swap = ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes")
        if self._version == 2:
            first, swap = "memory.max", "memory.swap.max"
        (self.folder / first).write_text(str(memory))
        for name, value in ((swap, memory if self._version == 1 else 0), ("pids.max", MAX_PROCESSES)):
            if (self.folder / name).exists():  # not where the kernel doesn't count it
                (self.folder / name).write_text(str(value))

    def kills(self) -> int:
        """How many of its processes the kernel killed for want of memory."""
        name = "memory.oom_control" if self._version == 1 else "memory.events"
        return kills_of((self.folder / name).read_text())

    def remove(self) -> None:
        """Remove it, and end what still runs in it."""
        end = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < end:
            try:
                self.folder.rmdir()
            except FileNotFoundError:
                return
            except OSError:  # processes that end leave it a moment later
                if time.monotonic() > end - PATIENCE_SECONDS / 2:
                    self._kill()
                time.sleep(0.02)
            else:
                return

    def _kill(self) -> None:
        with contextlib.suppress(OSError):
            for pid in map(int, self.members.read_text().split()):
                if pid > 1:  # 0 stands for one that has no number here, and would mean ourselves
                    with contextlib.suppress(OSError):
                        os.kill(pid, signal.SIGKILL)


def kills_of(text: str) -> int:
    """How many kills a group's account of its memory says; 0 where it says nothing of them."""
    match = re.search(r"^oom_kill (\d+)$", text, re.MULTILINE)
    return int(match[1]) if match else 0


@contextlib.contextmanager
def bounded_group(parent: Path, version: int, memory: int) -> Iterator[Group]:
    """A group below ``parent`` for as long as the block runs. Raises OSError where none can be made."""
    group = Group(parent / own_name(), version)
    group.folder.mkdir()
    try:
        group.limit(memory)
        yield group
    finally:
        group.remove()
