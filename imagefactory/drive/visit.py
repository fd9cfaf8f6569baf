"""A person at a terminal looks at a target: where making it breaks, and around in what was made."""

from __future__ import annotations

import contextlib

from imagefactory.drive.session import Session
from imagefactory.drive.trial import TESTS_AT, have_data, tests_of
from imagefactory.drive.worker import Order, job_of
from imagefactory.errors import BadInput
from imagefactory.model.report import Report
from imagefactory.system.log import Log
from imagefactory.targets.kind import Debugged, Entered
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
