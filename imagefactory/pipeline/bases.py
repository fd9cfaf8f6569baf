"""Make base images."""

from __future__ import annotations

import contextlib
import time

from imagefactory.bases import load_base
from imagefactory.inputs import Origin
from imagefactory.log import Log
from imagefactory.model.lock import Lock
from imagefactory.model.report import BaseReport, StepReport
from imagefactory.model.spec import BaseDefinition
from imagefactory.pipeline.fetching import ensure_fetched
from imagefactory.pipeline.guard import guarded
from imagefactory.pipeline.result import Result, now
from imagefactory.pipeline.session import Session
from imagefactory.plan.bases import definition_digest, judge_base
from imagefactory.plan.locks import base_lock_state
from imagefactory.records import Record, record_of_base


def ensure_base(session: Session, name: str, *, again: bool) -> Result:
    """Make the base image, which is locked, if it is missing or changed; with ``again``, in any case."""
    definition = load_base(session.workspace, name)
    record = record_of_base(session.workspace, name)
    lock = base_lock_state(session.workspace, definition, session.site).good
    assert lock is not None

    def work() -> Result:
        start = time.monotonic()
        reason = judge_base(definition, lock, record, record.read_base())
        if not (again or reason):  # somebody else made it meanwhile
            return Result(name, "nothing", 0.0)
        reason = reason or "it was asked for by name"
        report = _make(session, definition, lock, record, reason)
        return Result(name, "build", time.monotonic() - start, (reason,), report)

    if not again and not judge_base(definition, lock, record, record.read_base()):
        return Result(name, "nothing", 0.0)
    fetched = ensure_fetched(session, name, record, Origin(definition), lock)
    return fetched if fetched.error else guarded(name, record, session.progress, session.stop, work)


def _make(
    session: Session, definition: BaseDefinition, lock: Lock, record: Record, reason: str
) -> BaseReport:
    engines = dict(session.backend.engines())
    with (
        contextlib.closing(Log(definition.base.name, record.log_file, session.progress)) as log,
        record.scratch_folder() as scratch,
    ):
        log.phase(f"making it: {reason}")
        means = session.means(log, scratch, definition.platform)
        built, size, steps = session.backend.make_base(definition, lock, record.layout, means)
        report = BaseReport(
            name=definition.base.name,
            definition_digest=definition_digest(definition, lock),
            image_digest=built.digest,
            bytes=size,
            built=now(),
            steps=tuple(StepReport(name=s.name, seconds=s.seconds, cached=s.cached) for s in steps),
            engines=engines,
        )
        record.write(report)
        log.done(True, "made")
    return report
