"""The store: every fetched input, by its sha256. Safe with several processes; nothing in it is ever changed.

::

    <store>/sha256/<first two digits>/<sha256>   whole files, whose content was checked
    <store>/partial/<sha256>[.lock]              downloads under way, which are carried on
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from imagefactory.errors import disk_error
from imagefactory.system.files import make_folder
from imagefactory.system.holds import hold_file

_PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class Stored:
    """A file in the store: its size in bytes, and when it was last used, in seconds since 1970."""

    sha256: str
    path: Path
    bytes: int
    used: float


@dataclass(frozen=True, slots=True)
class Store:
    """A folder of files by sha256."""

    folder: Path

    def path(self, sha256: str) -> Path:
        """Where the file of that sha256 is, or would be."""
        return self.folder / "sha256" / sha256[:2] / sha256

    def has(self, sha256: str) -> bool:
        """Whether the file is here."""
        return self.path(sha256).is_file()

    def use(self, sha256: str) -> Path:
        """The file's place, noted as used today."""
        path = self.path(sha256)
        with contextlib.suppress(OSError):  # in a store that others own
            os.utime(path)
        return path

    @contextlib.contextmanager
    def draft(self, name: str) -> Iterator[Path]:
        """A file to write what is to be stored, for one process at a time.

        ``name`` tells drafts apart. What is left of it afterwards is found by the next who asks for it.
        """
        draft = self.folder / "partial" / name
        make_folder(draft.parent)
        with hold_file(draft.with_name(f"{name}.lock")):
            yield draft

    def take(self, draft: Path, sha256: str) -> Path:
        """Move a whole and checked file in. It is there at once or not at all."""
        path = self.path(sha256)
        try:
            make_folder(path.parent)
            with draft.open("rb") as file:
                os.fsync(file.fileno())
            draft.chmod(0o644)
            draft.replace(path)
        except OSError as error:
            raise disk_error(error, path) from None
        return path

    def files(self) -> Iterator[Stored]:
        """All files, by sha256."""
        for path in sorted((self.folder / "sha256").glob("??/*")):
            with contextlib.suppress(FileNotFoundError):  # pruned at this moment
                facts = path.stat()
                yield Stored(path.name, path, facts.st_size, facts.st_mtime)

    def damaged(self) -> Iterator[Stored]:
        """The files whose content is no longer what their name says. Reads everything."""
        for stored in self.files():
            if file_sha256(stored.path) != stored.sha256:
                yield stored

    def remove(self, stored: Stored) -> None:
        """Remove one file."""
        try:
            stored.path.unlink(missing_ok=True)
        except OSError as error:
            raise disk_error(error, stored.path) from None

    def drop_partial(self, older_than: float) -> None:
        """Remove downloads that nobody has carried on for that many seconds."""
        for path in (self.folder / "partial").glob("*"):
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime > older_than:
                    path.unlink()


def place_file(store: Store, sha256: str, target: Path) -> None:
    """Have a stored file stand at ``target``, where nothing is, without a copy where that is possible.

    Raises OSError.
    """
    source = store.use(sha256)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        target.hardlink_to(source)
    except FileExistsError:  # perhaps a link into the store, which a copy would write to
        raise
    except OSError:  # another file system, or one without such links
        shutil.copyfile(source, target)


def file_sha256(path: Path) -> str:
    """The sha256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
