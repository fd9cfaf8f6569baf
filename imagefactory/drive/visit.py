"""A person looks at a target: where making it breaks, around in what was made, and at what goes into it."""

from __future__ import annotations

import contextlib
from pathlib import Path

from imagefactory.drive.session import Session
from imagefactory.drive.trial import TESTS_AT, have_data, tests_of
from imagefactory.drive.worker import Order, job_of
from imagefactory.errors import BadInput, disk_error
from imagefactory.model.report import Report
from imagefactory.system.log import Log
from imagefactory.targets.kind import Debugged, Entered, Packed
from imagefactory.targets.register import shown


def debug(order: Order, kind: Debugged, session: Session) -> None:
    """Open a shell, on the caller's terminal, where making the target breaks."""
    record = session.record(order.target.id)
    log_file = record.folder / "debug.log"
    with (
        record.locked(lambda: None, session.stop),
        contextlib.closing(Log(shown(order.target.id), log_file, session.progress)) as log,
        record.scratch_folder() as scratch,
    ):
        kind.debug(job_of(order, session, log, scratch))


def enter(order: Order, report: Report, session: Session) -> int:
    """Open a shell, on the caller's terminal, in what was made of a target: the candidate that failed, where
    there is one. The shell's exit status. Raises BadInput where it is gone.
    """
    target = order.target
    name, record, kind = shown(target.id), session.record(target.id), session.kinds.of(target)
    there = report.of(report.candidate) or report
    kept = session.kept(target, there)
    reason = kind.missing(kept)
    if reason or not isinstance(kind, Entered):
        hint = f"run imagefactory build {target.spec.selector}"
        raise BadInput(f"{name} can't be entered: {reason or 'nobody can enter its kind'}", hint=hint)
    kind.engines()
    what = "the candidate that failed its tests" if report.candidate else "as it is kept"
    with (
        record.locked(lambda: None, session.stop, shared=True),
        record.scratch_apart() as scratch,
        contextlib.closing(Log(name, scratch / "enter.log", session.progress)) as log,
    ):
        log.phase(f"a shell in {what}: the tests are in {TESTS_AT}, and exit leaves it")
        job = job_of(order, session, log, scratch)
        have_data(kind, job)
        return kind.enter(job, kept.artifact(), tests_of(job))


def pack(order: Order, kind: Packed, session: Session, file: Path) -> None:
    """Write the file that building the target without the factory takes, whole or not at all. Raises
    BuildFailed, or a kind of it.
    """
    record = session.record(order.target.id)
    draft = file.with_name(f".{file.name}.draft")
    with (
        record.locked(lambda: None, session.stop, shared=True),
        record.scratch_apart() as scratch,
        contextlib.closing(Log(shown(order.target.id), scratch / "pack.log", session.progress)) as log,
    ):
        try:
            draft.unlink(missing_ok=True)
            kind.pack(job_of(order, session, log, scratch), draft)
            draft.replace(file)
        except OSError as error:
            raise disk_error(error, file) from None
        finally:
            draft.unlink(missing_ok=True)
