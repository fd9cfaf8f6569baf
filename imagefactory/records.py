"""The layout of ``build/``: one folder per image, with its report, log, context and lock.

::

    build/<identifier>/report.json   what was built and how it tested
    build/<identifier>/build.log     everything its last build and tests wrote
    build/<identifier>/outputs/      what each smoke test wrote, in each kind of image
    build/<identifier>/*.sif         its SIF file
    build/<identifier>/context/      the rendered files, as they were built
    build/<identifier>/lock          held while the image is built or tested
    build/bases/<name>/              the same for a base image, with its OCI layout in oci/
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from filelock import FileLock, Timeout
from pydantic import BaseModel, ValidationError

from imagefactory.errors import BuildFailed, disk_error
from imagefactory.model.report import BaseReport, Report
from imagefactory.model.spec import File
from imagefactory.run import Stop, run
from imagefactory.workspace import Workspace

Model = TypeVar("Model", bound=BaseModel)
BASES = "bases"


@dataclass(frozen=True, slots=True)
class Record:
    """The folder of one image or base image below ``build/``."""

    folder: Path

    @property
    def report_file(self) -> Path:
        return self.folder / "report.json"

    @property
    def log_file(self) -> Path:
        return self.folder / "build.log"

    @property
    def context(self) -> Path:
        return self.folder / "context"

    @property
    def scratch(self) -> Path:
        """For files that must not outlive the build; emptied by whoever gets the lock next."""
        return self.folder / "scratch"

    def output_file(self, format: str, test: str) -> Path:
        """All that a smoke test wrote in one kind of image."""
        return self.folder / "outputs" / format / f"{test}.txt"

    def write_output(self, format: str, test: str, text: str) -> None:
        """Keep what a smoke test wrote."""
        file = self.output_file(format, test)
        make_folder(file.parent)
        write_file(file, text.encode())

    def read_output(self, format: str, test: str) -> str | None:
        """What a smoke test wrote last, or None."""
        try:
            return self.output_file(format, test).read_text(encoding="utf-8")
        except OSError:
            return None

    @property
    def layout(self) -> Path:
        """A base image's OCI layout."""
        return self.folder / "oci"

    def read(self) -> Report | None:
        """The last report, or None where there is none that this version understands."""
        return _read(self.report_file, Report)

    def read_base(self) -> BaseReport | None:
        """The last report of a base image, or None."""
        return _read(self.report_file, BaseReport)

    def write(self, report: BaseModel) -> None:
        """Replace the report at once, so that no reader ever sees half of it."""
        write_file(self.report_file, report.model_dump_json(indent=2).encode() + b"\n")

    @contextlib.contextmanager
    def locked(self, on_wait: Callable[[], None], stop: Stop) -> Iterator[None]:
        """Hold the lock; ``on_wait`` is called once if another process has it.

        The kernel drops it when the process ends, however it ends. Raises Interrupted on a stop.
        """
        lock = self._lock()
        waited = False
        while not self._acquire(lock):
            if not waited:
                on_wait()
            waited = True
            stop.wait(0.1)
            stop.check()
        try:
            yield
        finally:
            lock.release()

    @contextlib.contextmanager
    def if_free(self) -> Iterator[bool]:
        """Hold the lock if nobody has it; says whether it is held now."""
        lock = self._lock()
        free = self._acquire(lock)
        try:
            yield free
        finally:
            if free:
                lock.release()

    def abandoned(self) -> list[Path]:
        """What a killed build left here. It is rubbish only while nobody holds the lock."""
        found = [*self.folder.glob(".*.draft"), self.scratch]
        return [path for path in found if path.exists()]

    @contextlib.contextmanager
    def scratch_folder(self) -> Iterator[Path]:
        """An empty scratch folder that is gone afterwards. Call it with the lock held."""
        remove_tree(self.scratch)
        make_folder(self.scratch)
        try:
            yield self.scratch
        finally:
            remove_tree(self.scratch)

    def _lock(self) -> FileLock:
        make_folder(self.folder)
        return FileLock(self.folder / "lock", thread_local=False)

    def _acquire(self, lock: FileLock) -> bool:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return False
        except OSError as error:
            raise disk_error(error, self.folder / "lock") from None
        return True


def record_of(workspace: Workspace, id: str) -> Record:
    """The record of an image."""
    return Record(workspace.build / id)


def record_of_base(workspace: Workspace, name: str) -> Record:
    """The record of a base image."""
    return Record(workspace.build / BASES / name)


def write_files(folder: Path, files: Iterable[File]) -> Path:
    """Make ``folder`` hold exactly ``files``, readable by all; it is replaced as a whole."""
    draft = folder.with_name(f".{folder.name}.draft")
    try:
        remove_tree(draft)
        draft.mkdir(parents=True)
        for file in files:
            path = draft / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(file.data)
            path.chmod(file.mode)
        for path in (draft, *draft.rglob("*")):
            if path.is_dir():
                path.chmod(0o755)
        remove_tree(folder)
        draft.rename(folder)
    except OSError as error:
        with contextlib.suppress(OSError):
            remove_tree(draft)
        raise disk_error(error, folder) from None
    return folder


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


@contextlib.contextmanager
def hold_file(file: Path) -> Iterator[None]:
    """Hold a lock file; others wait. The kernel drops it when the process ends, however it ends."""
    lock = FileLock(file, thread_local=False)
    try:
        lock.acquire()
    except OSError as error:
        raise disk_error(error, file) from None
    try:
        yield
    finally:
        lock.release()


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


def _read(file: Path, kind: type[Model]) -> Model | None:
    try:
        return kind.model_validate_json(file.read_bytes())
    except (OSError, ValidationError):
        return None
