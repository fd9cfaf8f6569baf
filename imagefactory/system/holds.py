"""Locks between processes. The kernel drops them when a process ends, however it ends (flock(2))."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from imagefactory.errors import disk_error

_OPEN = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Hold:
    """One lock file: held by one alone, or shared by several that only read what it guards.

    Each holder makes its own; threads exclude each other as processes do.
    """

    def __init__(self, file: Path, *, shared: bool = False) -> None:
        self._file = file
        self._how = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        self._handle: int | None = None

    def take(self, *, wait: bool = False) -> bool:
        """Take it; whether it is held now. Raises BuildFailed where the file can't be made."""
        try:
            handle = os.open(self._file, _OPEN, 0o644)
        except OSError as error:
            raise disk_error(error, self._file) from None
        try:
            fcntl.flock(handle, self._how | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            os.close(handle)
            return False
        except BaseException as error:
            os.close(handle)
            if isinstance(error, OSError):
                raise disk_error(error, self._file) from None
            raise
        self._handle = handle
        return True

    def drop(self) -> None:
        """Let go of it, if it is held."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


@contextlib.contextmanager
def hold_file(file: Path) -> Iterator[None]:
    """Hold a lock file alone; others wait."""
    hold = Hold(file)
    hold.take(wait=True)
    try:
        yield
    finally:
        hold.drop()
