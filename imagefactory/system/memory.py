"""Bounds on what a command may take of memory, in the best way that works here and now.

    with bounded(1 << 30) as bound:
        status = stream([*bound.prefix, *argv], lines.append, stop=stop)
        if bound.exceeded(status, lines[-1]):
            ...

``way()`` says which way that is, in words for people. What each guarantees:

- systemd, cgroup: all processes of the command together stay within the bound, and what they write to a
  tmpfs counts too. The kernel kills what goes beyond it.
- prlimit: each process by itself stays within it, and is refused more. Many processes together may take more,
  and neither memory that they share nor files in a tmpfs count.
- none: nothing.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import resource
import shlex
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

from imagefactory.errors import BadInput, EngineError
from imagefactory.system.cgroups import (
    MAX_PROCESSES,
    Hierarchy,
    abandoned,
    bounded_group,
    hierarchies,
    kills_of,
    own_name,
)
from imagefactory.system.processes import run, which

VARIABLE = "IMAGEFACTORY_MEMORY_BOUND"
"""Names the way to be used, for tests, and for a machine where the best one is at fault."""

STACK_BYTES = 8 << 20  # what a thread reserves, and hardly uses
_TRIED = 64 << 20
_SYSTEMD = Path("/run/systemd/system")
_KILLED = (137, -9)
_TAIL = 4096
_REFUSED = re.compile(
    r"out of memory|cannot allocate|can't allocate|unable to allocate|failed to allocate|not enough memory"
    r"|memory exhausted|memory allocation|memoryerror|bad_alloc|enomem|insufficient virtual memory",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Bound:
    """One command's bound: it is started with the words ``prefix`` before its own."""

    prefix: tuple[str, ...]
    _hit: Callable[[int, str], bool]

    def exceeded(self, status: int, said: str = "") -> bool:
        """Whether it ended with ``status`` for want of memory; ``said`` is what it wrote. To be asked before
        the block ends. Where the kernel keeps no account (prlimit) what it wrote decides.
        """
        return status != 0 and self._hit(status, said)


class Way(Protocol):
    """A way of bounding memory. ``how`` says in words what is bounded; ``together`` is whether that is all
    processes of a command at once.
    """

    @property
    def name(self) -> str:
        """What ``IMAGEFACTORY_MEMORY_BOUND`` calls it."""

    how: ClassVar[str]
    together: ClassVar[bool]

    def bound(self, memory: int, files: int) -> AbstractContextManager[Bound]:
        """See ``bounded``. Raises OSError."""

    def works(self) -> bool:
        """Whether it does, here and now. May raise OSError or EngineError, which mean no."""


@dataclass(frozen=True, slots=True)
class Systemd:
    """A scope of systemd's: the system's for root, else that of the user's own manager."""

    mount: Path  # of control groups, version 2: with version 1 users' managers bound nothing
    name: ClassVar[str] = "systemd"
    how: ClassVar[str] = "bounded for all processes together (systemd)"
    together: ClassVar[bool] = True

    @contextlib.contextmanager
    def bound(self, memory: int, files: int) -> Iterator[Bound]:
        """The scope is gone when its last process ends: a shell in it writes down before what was killed."""
        name = own_name()
        account = Path(tempfile.gettempdir()) / name
        account.touch(0o600, exist_ok=False)

        def hit(status: int, said: str) -> bool:
            text = account.read_text()
            return (
                kills_of(text) > 0 if text else status in _KILLED
            )  # the shell itself may be what was killed

        try:
            yield Bound(self.words(name, memory + files, account), hit)
        finally:
            account.unlink(missing_ok=True)

    def words(self, name: str, memory: int, account: Path) -> tuple[str, ...]:
        """The words that start a command in a scope of that name."""
        user = () if os.getuid() == 0 else ("--user",)
        properties = (f"MemoryMax={memory}", "MemorySwapMax=0", f"TasksMax={MAX_PROCESSES}")
        script = f'"$@"; __status=$?; cat {self._own("memory.events")} >"$0"; exit $__status'
        end_with_us = ("setpriv", "--pdeathsig", "KILL", "--") if which("setpriv") else ()
        return (
            *("systemd-run", *user, "--scope", "--quiet", "--collect", f"--unit={name}.scope"),
            *(f"--property={each}" for each in properties),
            *("--", "sh", "-c", script, str(account), *end_with_us),
        )

    def works(self) -> bool:
        """Whether systemd runs this machine, answers, and sets the bound: a user's manager may not have it to
        give.
        """
        if not _SYSTEMD.is_dir() or which("systemd-run") is None:
            return False
        with self.bound(_TRIED, 0) as bound:
            done = run([*bound.prefix, "sh", "-c", f"cat {self._own('memory.max')}"], timeout=10)
        return done.status == 0 and done.stdout.strip() == str(_TRIED)

    def _own(self, file: str) -> str:
        """A file of the group that a shell is in, as it finds it."""
        group = "$(sed -n 's/^0:://p' /proc/self/cgroup)"
        return f'{shlex.quote(str(self.mount))}"{group}"/{file}'


@dataclass(frozen=True, slots=True)
class ControlGroup:
    """A control group that we make ourselves below ``parent``."""

    parent: Path
    version: int
    how: ClassVar[str] = "bounded for all processes together (cgroup)"
    together: ClassVar[bool] = True

    @property
    def name(self) -> str:
        """With its version."""
        return f"cgroup{self.version}"

    @contextlib.contextmanager
    def bound(self, memory: int, files: int) -> Iterator[Bound]:
        """The shell joins the group and becomes the command."""
        with bounded_group(self.parent, self.version, memory + files) as group:
            join = ("sh", "-c", 'echo $$ >"$0" && exec "$@"', str(group.members))
            yield Bound(join, lambda status, said: group.kills() > 0)

    def works(self) -> bool:
        """Whether a command can be started so."""
        return _starts(self)


def _starts(way: Way) -> bool:
    with way.bound(_TRIED, 0) as bound:
        return run([*bound.prefix, "true"], timeout=10).status == 0


@dataclass(frozen=True, slots=True)
class Prlimit:
    """A limit on the data of each process. (Of addresses Go reserves far more than it uses.)"""

    name: ClassVar[str] = "prlimit"
    how: ClassVar[str] = "bounded for each process by itself (prlimit)"
    together: ClassVar[bool] = False

    @contextlib.contextmanager
    def bound(self, memory: int, files: int) -> Iterator[Bound]:
        """The stacks of as many threads as there are cores are not counted."""
        limit = memory + STACK_BYTES * (os.cpu_count() or 1)
        most = resource.getrlimit(resource.RLIMIT_DATA)[1]
        if most != resource.RLIM_INFINITY:
            limit = min(limit, most)
        yield Bound(
            ("prlimit", f"--data={limit}", "--"),
            lambda status, said: _REFUSED.search(said[-_TAIL:]) is not None,
        )

    def works(self) -> bool:
        """Whether a command can be started so."""
        return _starts(self)


@dataclass(frozen=True, slots=True)
class Nothing:
    """No bound at all."""

    name: ClassVar[str] = "none"
    how: ClassVar[str] = "not bounded"
    together: ClassVar[bool] = False

    @contextlib.contextmanager
    def bound(self, memory: int, files: int) -> Iterator[Bound]:
        """No words."""
        yield Bound((), lambda status, said: False)

    def works(self) -> bool:
        """Always."""
        return True


def bounded(memory: int, files: int = 0) -> AbstractContextManager[Bound]:
    """A bound of ``memory`` bytes on one command; ``files`` is what it may hold beside that in tmpfs folders,
    whose content is memory too where all is counted. When the block ends, so does what still runs within a
    control group of ours. Raises EngineError where the bound can't be made.
    """
    return _explained(way(), memory, files)


@contextlib.contextmanager
def _explained(way: Way, memory: int, files: int) -> Iterator[Bound]:
    with contextlib.ExitStack() as stack:
        try:
            bound = stack.enter_context(way.bound(memory, files))
        except OSError as error:
            raise EngineError(
                f"memory can't be bounded any more: {error}",
                hint=f"{VARIABLE}=prlimit bounds that of each process by itself",
            ) from None
        yield bound


@functools.cache
def way() -> Way:
    """The best way that works here, found out once. What our former runs left when they were killed goes.

    Raises BadInput where a way is asked for that is none, EngineError where it doesn't work here.
    """
    trees = hierarchies()
    for tree in trees:
        tree.sweep()
    _sweep_accounts()
    wanted = os.environ.get(VARIABLE, "")
    if wanted not in ("", "systemd", "cgroup2", "cgroup1", "prlimit", "none"):
        raise BadInput(
            f"{VARIABLE} is {wanted!r}, which is no way of bounding memory",
            hint="there are systemd, cgroup2, cgroup1, prlimit and none",
        )
    for each in ways(trees):
        if wanted in ("", each.name) and _works(each):
            return each
    raise EngineError(f"memory can't be bounded with {wanted} on this machine", hint=f"unset {VARIABLE}")


def ways(trees: list[Hierarchy]) -> Iterator[Way]:
    """All that may work with these trees of groups, the best first."""
    yield from (Systemd(tree.mount) for tree in trees if tree.version == 2)
    yield from (ControlGroup(parent, tree.version) for tree in trees for parent in tree.parents())
    yield Prlimit()
    yield Nothing()


def _works(way: Way) -> bool:
    try:
        return way.works()
    except (OSError, EngineError):
        return False


def _sweep_accounts() -> None:
    for file in Path(tempfile.gettempdir()).glob("imagefactory-memory-*"):
        if abandoned(file.name):
            with contextlib.suppress(OSError):
                file.unlink()
