"""Folders that other users may write to as well: no link in them is followed, and no path through them is
looked up twice.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_MODES = 0o3777  # who may, the group of what is made there, and that nobody removes what is another's


@contextlib.contextmanager
def inside(folder: Path, *names: str, make: bool = False) -> Iterator[int]:
    """The folder at ``names`` below ``folder``, open: its entries stay its own, whoever moves it meanwhile.

    With ``make`` it is made, for whom ``folder`` is for. Raises OSError, such as where a link is in the way.
    """
    if make:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            folder.mkdir(0o755)
    handle = os.open(folder, _FOLDER)
    try:
        for name in names:
            if make:
                _make(name, handle)
            below = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=handle)
            os.close(handle)
            handle = below
        yield handle
    finally:
        os.close(handle)


@contextlib.contextmanager
def private(folder: Path, *names: str, make: bool = False) -> Iterator[int]:
    """The same of a folder that is ours alone. Raises OSError too where it is another user's."""
    *above, name = names
    with inside(folder, *above, make=make) as handle:
        if make:
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, 0o700, dir_fd=handle)
        own = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=handle)
    try:
        facts = os.fstat(own)
        if facts.st_uid != os.geteuid():
            raise PermissionError(0, f"it belongs to {owner(facts.st_uid)}", str(folder.joinpath(*names)))
        if facts.st_mode & 0o077:
            os.fchmod(own, 0o700)
        yield own
    finally:
        os.close(own)


def path_of(handle: int) -> Path:
    """A path to an open folder or file that nobody can lead elsewhere; of use in this process alone."""
    return Path(f"/proc/self/fd/{handle}")


def names_in(handle: int) -> list[str]:
    """What an open folder holds."""
    with os.scandir(handle) as there:
        return [entry.name for entry in there]


def is_plain(facts: os.stat_result) -> bool:
    """Whether it is a file with content, and no link, folder, pipe or device."""
    return stat.S_ISREG(facts.st_mode)


def is_ours_alone(facts: os.stat_result) -> bool:
    """Whether nobody but us (and root) can change it: it is ours, and all may read it."""
    return facts.st_uid == os.geteuid() and stat.S_IMODE(facts.st_mode) in (0o444, 0o644)


def owner(uid: int) -> str:
    """A user's name, or number where there is none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def _make(name: str, above: int) -> None:
    """A folder as the one that it is in, whatever the umask is."""
    try:
        os.mkdir(name, 0o755, dir_fd=above)
    except FileExistsError:
        return
    made = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=above)
    try:
        mode = stat.S_IMODE(os.fstat(above).st_mode) & _MODES
        if os.fstat(made).st_uid == os.geteuid():
            os.fchmod(made, mode | stat.S_ISVTX if mode & 0o022 else mode)
    finally:
        os.close(made)
