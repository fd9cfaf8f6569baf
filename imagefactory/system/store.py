"""The store: every fetched input, by its sha256. Safe with several processes; nothing in it is ever changed.

::

    <store>/sha256/<first two digits>/<sha256>         whole files, whose content was checked
    <store>/partial/<user's number>/<sha256>[.lock]    downloads under way, which are carried on

Others may write to it too, so it is not believed: what is used is hashed as it is used, no link in it is
followed, and what one user writes stands in a folder of that user alone until it is whole.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from imagefactory.errors import BuildFailed, FactoryError, disk_error
from imagefactory.system.holds import hold_file
from imagefactory.system.reading import PIECE, Fault, Reading
from imagefactory.system.shared import inside, is_plain, names_in, path_of, private

_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_FILES, _DRAFTS = "sha256", "partial"
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Stored:
    """A file in the store: its size in bytes, when it was last used, in seconds since 1970, and the number of
    the user whose it is.
    """

    sha256: str
    path: Path
    bytes: int
    used: float
    user: int

    @property
    def removable(self) -> bool:
        """Whether it is for us to remove: ours, or root decides."""
        return os.geteuid() in (0, self.user)


@dataclass(frozen=True, slots=True)
class Store:
    """A folder of files by sha256."""

    folder: Path

    def path(self, sha256: str) -> Path:
        """Where the file of that sha256 is, or would be, for people to read."""
        return self.folder / _FILES / sha256[:2] / sha256

    def has(self, sha256: str) -> bool:
        """Whether a file is here under that name. Whether it is good, reading it tells."""
        facts = self._facts(sha256)
        return facts is not None and is_plain(facts)

    def size(self, sha256: str) -> int:
        """The bytes of a file; 0 of one that is not here."""
        facts = self._facts(sha256)
        return facts.st_size if facts else 0

    def checked_size(self, sha256: str, what: str) -> int:
        """The same, of a file whose content is what its name says. Raises BuildFailed."""
        with self.opened(sha256, what) as file:
            file.check()
            return file.bytes

    def read(self, sha256: str, most: int, what: str) -> bytes:
        """The beginning of a file, all of which is checked. Raises BuildFailed."""
        pieces: list[bytes] = []
        with self.opened(sha256, what) as file:
            while most and (piece := file.read(min(most, PIECE))):
                pieces.append(piece)
                most -= len(piece)
        return b"".join(pieces)

    @contextlib.contextmanager
    def opened(self, sha256: str, what: str, size: int = 0, *, used: bool = True) -> Iterator[Reading]:
        """A file to read, noted as used today unless it is not ``used``; all of it is checked at the end.

        ``what`` it is begins the message where it is not good; ``size`` is known of it, or 0. Raises
        BuildFailed.
        """
        fault = Fault(what, self.path(sha256))
        try:
            with self._folder(sha256) as folder:
                handle = os.open(sha256, _OPEN, dir_fd=folder)
        except FileNotFoundError:
            raise BuildFailed(
                f"{what} is not there: {fault.path}", hint="run imagefactory fetch, which brings it"
            ) from None
        except OSError as error:
            raise self._unread(fault, sha256, error) from None
        try:
            facts = os.fstat(handle)
            fault = Fault(what, fault.path, facts.st_uid)
            if not is_plain(facts):
                raise fault.told("is no file with content")
            if size and facts.st_size != size:
                raise fault.told(f"has {facts.st_size} bytes, not {size}")
            if used and facts.st_uid == os.geteuid():
                os.utime(handle)
            reading = Reading(handle, facts, sha256, fault)
            yield reading
            reading.check()
        finally:
            os.close(handle)

    @contextlib.contextmanager
    def draft(self, name: str) -> Iterator[Path]:
        """A file to write what is to be stored, for one process at a time.

        ``name`` tells drafts apart. What is left of it afterwards is found by the next who asks for it.
        """
        with self._drafts() as folder, hold_file(folder / f"{name}.lock"):
            yield folder / name

    @contextlib.contextmanager
    def tray(self) -> Iterator[Path]:
        """An empty folder for files that are to be stored together; what is not taken of it goes."""
        with self._drafts() as folder:
            tray = Path(tempfile.mkdtemp(dir=folder))
            try:
                yield tray
            finally:
                shutil.rmtree(tray, ignore_errors=True)

    def take(self, draft: Path, sha256: str) -> Path:
        """Move a whole and checked file in. It is there at once or not at all."""
        path = self.path(sha256)
        try:
            handle = os.open(draft, _OPEN)
            try:
                os.fsync(handle)
                os.fchmod(handle, 0o644)
            finally:
                os.close(handle)
            with inside(self.folder, _FILES, sha256[:2], make=True) as folder:
                os.rename(draft, sha256, dst_dir_fd=folder)
        except OSError as error:
            facts = self._facts(sha256)
            if facts is None or facts.st_uid == os.geteuid():
                raise disk_error(error, path) from None
            if not is_plain(facts):
                raise Fault(f"what the store has as {sha256[:12]}", path, facts.st_uid).told(
                    "is no file"
                ) from None
            draft.unlink()  # another user was faster
        return path

    def files(self) -> Iterator[Stored]:
        """All files, by sha256; what is called otherwise is none of the store's."""
        for sha256 in sorted(self._names()):
            facts = self._facts(sha256)
            if facts:  # perhaps it was pruned at this moment
                yield Stored(sha256, self.path(sha256), facts.st_size, facts.st_mtime, facts.st_uid)

    def damaged(self) -> Iterator[Stored]:
        """The files whose content is no longer what their name says. Reads everything."""
        for stored in self.files():
            try:
                with self.opened(stored.sha256, "", used=False):
                    pass
            except BuildFailed:
                if self._facts(stored.sha256):
                    yield stored

    def remove(self, stored: Stored) -> None:
        """Remove one file."""
        try:
            with self._folder(stored.sha256) as folder:
                try:
                    os.unlink(stored.sha256, dir_fd=folder)
                except IsADirectoryError:
                    shutil.rmtree(stored.sha256, dir_fd=folder)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise disk_error(error, stored.path) from None

    def drop_partial(self, older_than: float) -> None:
        """Remove downloads of ours that nobody has carried on for that many seconds."""
        before = time.time() - older_than
        with contextlib.suppress(OSError), inside(self.folder, _DRAFTS) as folder:
            _drop(folder, before, files_only=True)  # where an earlier version had them
        with contextlib.suppress(OSError), private(self.folder, _DRAFTS, str(os.geteuid())) as folder:
            _drop(folder, before)

    def _names(self) -> Iterator[str]:
        with contextlib.suppress(OSError), inside(self.folder, _FILES) as top:
            for name in names_in(top):
                if not re.fullmatch(r"[0-9a-f]{2}", name):
                    continue
                with contextlib.suppress(OSError), inside(self.folder, _FILES, name) as folder:
                    yield from (n for n in names_in(folder) if n[:2] == name and _SHA256.fullmatch(n))

    def _facts(self, sha256: str) -> os.stat_result | None:
        """What stands under a name, itself; None where nothing does, or nothing that we can see."""
        try:
            with self._folder(sha256) as folder:
                return os.stat(sha256, dir_fd=folder, follow_symlinks=False)
        except OSError:
            return None

    @contextlib.contextmanager
    def _folder(self, sha256: str) -> Iterator[int]:
        if not _SHA256.fullmatch(sha256):
            raise FileNotFoundError(sha256)
        with inside(self.folder, _FILES, sha256[:2]) as folder:
            yield folder

    def _unread(self, fault: Fault, sha256: str, error: OSError) -> BuildFailed:
        """Why a file can't be opened."""
        facts = self._facts(sha256)
        if facts is None or is_plain(facts):
            flaw = f"cannot be read: {error.strerror}"
        else:
            flaw = "is no file with content"
        return Fault(fault.what, fault.path, facts.st_uid if facts else None).told(flaw)

    @contextlib.contextmanager
    def _drafts(self) -> Iterator[Path]:
        """Our own folder of drafts, by a path that nobody can lead elsewhere. Messages have the usual one."""
        named = self.folder / _DRAFTS / str(os.geteuid())
        with contextlib.ExitStack() as held:
            try:
                folder = path_of(held.enter_context(private(self.folder, _DRAFTS, named.name, make=True)))
            except OSError as error:
                raise disk_error(error, named) from None
            try:
                yield folder
            except FactoryError as error:
                error.message = error.message.replace(str(folder), str(named))
                error.args = (error.message,)
                raise
            except OSError as error:
                if error.filename:
                    error.filename = str(error.filename).replace(str(folder), str(named))
                raise


def place_file(store: Store, sha256: str, target: Path, what: str, size: int = 0) -> None:
    """Have a stored file stand at ``target``, where nothing is, without a copy where only we can change it.

    What stands there is what was hashed. ``what`` and ``size`` are as for ``opened``. Raises BuildFailed, and
    OSError.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with store.opened(sha256, what, size) as file:
        # Where something stands already it is perhaps a link into the store, which a copy would write to.
        out = None if file.link(target) else target.open("xb")
        try:
            if out:
                with out:
                    os.fchmod(out.fileno(), 0o644)
                    shutil.copyfileobj(file, out, PIECE)
            file.check()
        except BaseException:
            target.unlink(missing_ok=True)
            raise


def file_sha256(path: Path) -> str:
    """The sha256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _drop(folder: int, before: float, *, files_only: bool = False) -> None:
    for name in names_in(folder):
        with contextlib.suppress(OSError):
            facts = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if facts.st_uid != os.geteuid() or facts.st_mtime > before:
                continue
            if is_plain(facts):
                os.unlink(name, dir_fd=folder)
            elif not files_only:
                shutil.rmtree(name, dir_fd=folder)
