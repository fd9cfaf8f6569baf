"""Files and folders that are there whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from imagefactory.errors import BuildFailed, disk_error
from imagefactory.model.spec import File
from imagefactory.system.processes import run

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_MARK = ".imagefactory"
"""Names the files that were written, in a folder that may be replaced as long as nothing else is in it."""


def write_files(folder: Path, files: Iterable[File], *, mark: bool = False) -> Path:
    """Make ``folder`` hold exactly ``files``, readable by all; it is replaced as a whole.

    With a ``mark`` in it, ``may_write`` knows it again.
    """
    files = marked(files) if mark else (*files,)
    draft = folder.with_name(f".{folder.name}.draft")
    try:
        remove_tree(draft)
        for name in sorted({"", *(parent for file in files for parent in _parents(file.path))}):
            parent = draft / name
            parent.mkdir(parents=not name)
            parent.chmod(0o755)
        for file in files:
            with os.fdopen(os.open(f"{draft}/{file.path}", _NEW, file.mode), "wb") as out:
                os.fchmod(out.fileno(), file.mode)  # whatever the umask is
                out.write(file.data)
        remove_tree(folder)
        draft.rename(folder)
    except OSError as error:
        with contextlib.suppress(OSError):
            remove_tree(draft)
        raise disk_error(error, folder) from None
    return folder


def marked(files: Iterable[File]) -> tuple[File, ...]:
    """The files with the mark that ``may_write`` knows them by."""
    files = (*files,)
    return (*files, File(_MARK, 0o644, "".join(f"{file.path}\n" for file in files).encode()))


def _parents(path: str) -> Iterator[str]:
    """The folders that a path lies in."""
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path


def may_write(folder: Path) -> bool:
    """Whether nothing is there but what ``write_files`` wrote, and marked."""
    if not folder.exists():
        return True
    if not folder.is_dir():
        return False
    mark = folder / _MARK
    ours = {_MARK, *mark.read_text().splitlines()} if mark.is_file() else set()
    there = {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}
    return there <= ours


def write_file(file: Path, data: bytes) -> None:
    """Write a file that is either the old one or the new one, never a part of it."""
    draft = file.with_name(f".{file.name}.draft")
    try:
        with draft.open("wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        draft.replace(file)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise disk_error(error, file) from None


def make_folder(folder: Path) -> None:
    """Make ``folder`` and what is above it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise disk_error(error, folder) from None


def size_of(path: Path) -> int:
    """The bytes of a file, or of all files in a folder; 0 where nothing is."""
    try:
        if not path.is_dir() or path.is_symlink():
            return path.lstat().st_size
        return sum(size_of(each) for each in path.iterdir())
    except OSError:  # it went meanwhile
        return 0


def remove_tree(folder: Path) -> None:
    """Remove a tree of ours. Refuses where something is still mounted below it."""
    if not folder.exists():
        return
    for parent, folders, _ in os.walk(folder):
        mounted = [name for name in folders if os.path.ismount(Path(parent) / name)]
        if mounted:
            raise BuildFailed(
                f"{Path(parent) / mounted[0]} is still mounted", hint="unmount it, then try again"
            )
    try:
        if folder.is_dir() and not folder.is_symlink():
            shutil.rmtree(folder)
        else:
            folder.unlink()
    except PermissionError:
        # Made in a user namespace by an ordinary user: its files belong to that user's subuids.
        run(
            ["unshare", "--map-root-user", "--map-auto", "rm", "-rf", "--", str(folder)],
            timeout=600,
        )
