"""Failures that people meet, each with its exit status and what to do next."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


class FactoryError(Exception):
    """A failure to report in one line: what failed and where, then what to do next."""

    exit_status = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class BadInput(FactoryError):
    """The words on the command line, or a file the user wrote, are not usable."""

    exit_status = 2


class NotLocked(BadInput):
    """What is made of locked inputs was asked for, and they are not locked."""


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One defect in a file. Line and column count from 1; 0 where the file as a whole is meant."""

    path: str
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        where = f"{self.path}:{self.line}:{self.column}" if self.line else self.path
        return f"{where}: {self.message}"


class BadFiles(BadInput):
    """Defects in one or more files, all that one reading found."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(sorted(set(problems)))
        super().__init__("\n".join(map(str, self.problems)))

    def __reduce__(self) -> tuple[object, ...]:
        """Sent to another process, it is made of its problems again, not of their text."""
        return BadFiles, (self.problems,), {"hint": self.hint}


class BuildFailed(FactoryError):
    """A step of a build failed.

    ``step`` is its short name, ``tail`` its last lines, ``log`` the file that holds everything.
    """

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        step: str = "",
        tail: Sequence[str] = (),
        log: Path | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.step = step
        self.tail = tuple(tail)
        self.log = log


class Unsolvable(BuildFailed):
    """No set of packages is all that was asked for."""


class Gone(BuildFailed):
    """The upstream answers, and has no such file."""


class NetworkFault(BuildFailed):
    """An upstream could not be reached: worth trying again later."""


class DiskFull(BuildFailed):
    """No space is left where the build or its log is written."""


class TestsFailed(FactoryError):
    """An image was built, and some of its tests did not pass. ``details`` are a few lines on each."""

    __test__ = False  # pytest must not collect it

    def __init__(self, message: str, *, hint: str = "", details: Sequence[Sequence[str]] = ()) -> None:
        super().__init__(message, hint=hint)
        self.details = tuple(tuple(lines) for lines in details)


class EngineError(FactoryError):
    """An engine is missing, too old, or does not answer."""

    exit_status = 3


class Bug(FactoryError):
    """Something that imagefactory itself did wrong."""


class Interrupted(FactoryError):
    """The user, or the system, asked to stop."""

    exit_status = 130


def disk_error(error: OSError, file: Path) -> BuildFailed:
    """An error in writing ``file``, in words."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    forbidden = error.errno in (errno.EACCES, errno.EPERM, errno.EROFS)
    what = "make it writable for you" if forbidden else "put that right"
    what = "free some space there" if full else what
    kind = DiskFull if full else BuildFailed
    return kind(
        f"cannot write {file}: {error.strerror or error}",
        hint=f"{what}, then run the same command again",
    )
