"""The layout of ``build/``: what is kept of every target, and locks so that only one makes it.

::

    build/<name>/                   an image, or a base image
      context/                      the rendered files
      <file>                        what was made and kept as a file or folder, such as a SIF file
      lock.log, fetch.log           what resolving its inputs and fetching them wrote
      <kind>/report.json            what was made and how it tested
      <kind>/history.json           how it was the times before
      <kind>/build.log              everything its last build and tests wrote
      <kind>/outputs/               what each smoke test wrote
      <kind>/lock                   held while it is made or tested
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import to_json

from imagefactory.model.report import History, PastReport, Report
from imagefactory.model.target import TargetId
from imagefactory.system.files import make_folder, remove_tree, write_file
from imagefactory.system.holds import Hold
from imagefactory.system.processes import Stop
from imagefactory.system.redact import redacted
from imagefactory.system.workspace import Workspace

Model = TypeVar("Model", bound=BaseModel)
BUNDLES = "bundles"
"""A folder below ``build/`` that is no image's."""
REMEMBERED = 200
"""How many reports a history holds."""
_PAUSE = 0.1  # seconds between two looks at a lock that somebody else has


@dataclass(frozen=True, slots=True)
class Desk:
    """A folder that one process at a time works in, with a scratch folder that doesn't outlive the work."""

    folder: Path

    @property
    def scratch(self) -> Path:
        """For files that must not outlive the work; emptied by whoever gets the lock next."""
        return self.folder / "scratch"

    @contextlib.contextmanager
    def locked(self, on_wait: Callable[[], None], stop: Stop, *, shared: bool = False) -> Iterator[None]:
        """Hold the lock, alone or with others who share it too; ``on_wait`` is called once if another process
        has it.

        The kernel drops it when the process ends, however it ends. Raises Interrupted on a stop.
        """
        make_folder(self.folder)
        hold = Hold(self._lock, shared=shared)
        waited = False
        while not hold.take():
            if not waited:
                on_wait()
            waited = True
            stop.wait(_PAUSE)
            stop.check()
        try:
            yield
        finally:
            hold.drop()

    @contextlib.contextmanager
    def if_free(self) -> Iterator[bool]:
        """Hold the lock if nobody has it; says whether it is held now."""
        make_folder(self.folder)
        hold = Hold(self._lock)
        free = hold.take()
        try:
            yield free
        finally:
            hold.drop()

    def abandoned(self) -> list[Path]:
        """What a killed run left here. It is rubbish only while nobody holds the lock."""
        left = [*self.folder.glob(".*.draft"), self.scratch]
        return [path for path in left if path.exists()]

    @contextlib.contextmanager
    def scratch_folder(self) -> Iterator[Path]:
        """An empty scratch folder that is gone afterwards. Call it with the lock held."""
        remove_tree(self.scratch)
        make_folder(self.scratch)
        try:
            yield self.scratch
        finally:
            remove_tree(self.scratch)

    @contextlib.contextmanager
    def scratch_apart(self) -> Iterator[Path]:
        """A scratch folder of one's own, for who shares the lock with others."""
        folder = self.folder / f".{os.getpid()}.draft"
        remove_tree(folder)
        make_folder(folder)
        try:
            yield folder
        finally:
            remove_tree(folder)

    @property
    def _lock(self) -> Path:
        return self.folder / "lock"


@dataclass(frozen=True, slots=True)
class Home(Desk):
    """The folder of one image or base image: what all its targets share."""

    @property
    def context(self) -> Path:
        return self.folder / "context"

    def records(self) -> Iterator[Record]:
        """A record for each of its folders that may be one."""
        return (Record(path) for path in sorted(self.folder.glob("*")) if (path / "lock").exists())


@dataclass(frozen=True, slots=True)
class Record(Desk):
    """The folder of one target."""

    @property
    def shelf(self) -> Path:
        """Where what is kept as a file or folder stands."""
        return self.folder.parent

    @property
    def report_file(self) -> Path:
        return self.folder / "report.json"

    @property
    def history_file(self) -> Path:
        return self.folder / "history.json"

    @property
    def log_file(self) -> Path:
        return self.folder / "build.log"

    @property
    def handover(self) -> Path:
        """What making it left for others that are made of it in the same run; gone at the run's end."""
        return self.folder / ".handover.draft"

    def output_file(self, test: str, way: str = "") -> Path:
        """All that a smoke test wrote, run in one of the ways of its kind."""
        return self.folder / "outputs" / way / f"{test}.txt"

    def write_output(self, test: str, text: str, way: str = "") -> None:
        """Keep what a smoke test wrote."""
        file = self.output_file(test, way)
        make_folder(file.parent)
        write_file(file, text.encode())

    def read_output(self, test: str) -> str | None:
        """What a smoke test wrote last, or None."""
        try:
            return self.output_file(test).read_text(encoding="utf-8")
        except OSError:
            return None

    def read(self) -> Report | None:
        """The last report, or None where there is none that this version understands."""
        return _model_in(self.report_file, Report)

    def history(self) -> History:
        """How it was the times before, and is now."""
        return _model_in(self.history_file, History) or History()

    def write(self, report: Report, *, made: bool = True) -> None:
        """Replace the report at once, so that no reader ever sees half of it, and remember it.

        What was not ``made`` but tested again takes the last one's place in the history.
        """
        make_folder(self.folder)
        write_file(self.report_file, _lines(report))
        past = self.history().reports
        kept = past if made else past[:-1]
        write_file(self.history_file, _lines(History(reports=(*kept, _remembered(report))[-REMEMBERED:])))


def home_of(workspace: Workspace, name: str) -> Home:
    """The folder of an image or base image."""
    return Home(workspace.build / name)


def record_of(workspace: Workspace, id: TargetId) -> Record:
    """The record of a target."""
    return Record(workspace.build / id.name / id.kind)


def homes(workspace: Workspace) -> Iterator[Home]:
    """Every folder of an image or base image that anything was done for."""
    return (Home(folder) for folder in sorted(workspace.build.glob("*")) if folder.is_dir())


def _remembered(report: Report) -> PastReport:
    counted = Counter(test.status for test in report.tests)
    return PastReport(
        built=report.built,
        version=report.version,
        status=report.status,
        input_digest=report.input_digest,
        digest=report.digest,
        bytes=report.bytes,
        seconds=report.seconds,
        tests={status: counted[status] for status in ("passed", "failed", "not-run")},
    )


def _lines(model: BaseModel) -> bytes:
    return to_json(redacted(model.model_dump(mode="json")), indent=2) + b"\n"


def _model_in(file: Path, kind: type[Model]) -> Model | None:
    try:
        return kind.model_validate_json(file.read_bytes())
    except (OSError, ValidationError):
        return None
