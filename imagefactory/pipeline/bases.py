"""Make base images."""

from __future__ import annotations

import contextlib
import time

from imagefactory.backends.protocol import Backend
from imagefactory.bases import load_base
from imagefactory.log import Log, Progress
from imagefactory.model.report import BaseReport, StepReport
from imagefactory.model.spec import BaseDefinition
from imagefactory.pipeline.guard import guarded
from imagefactory.pipeline.result import Result, now
from imagefactory.plan.bases import definition_digest, judge_base
from imagefactory.records import Record, record_of_base
from imagefactory.run import Stop
from imagefactory.workspace import Workspace


def ensure_base(
    workspace: Workspace,
    name: str,
    backend: Backend,
    progress: Progress,
    stop: Stop,
    *,
    again: bool,
) -> Result:
    """Make the base image if it is missing or changed; with ``again``, in any case."""
    definition = load_base(workspace, name)
    record = record_of_base(workspace, name)

    def work() -> Result:
        start = time.monotonic()
        reason = judge_base(definition, record, record.read_base())
        if not (again or reason):  # somebody else made it meanwhile
            return Result(name, "nothing", 0.0)
        reason = reason or "it was asked for by name"
        report = _make(name, definition, record, reason, backend, progress, stop)
        return Result(name, "build", time.monotonic() - start, (reason,), report)

    if not again and not judge_base(definition, record, record.read_base()):
        return Result(name, "nothing", 0.0)
    return guarded(name, record, progress, stop, work)


def _make(
    name: str,
    definition: BaseDefinition,
    record: Record,
    reason: str,
    backend: Backend,
    progress: Progress,
    stop: Stop,
) -> BaseReport:
    engines = dict(backend.engines())
    with (
        contextlib.closing(Log(name, record.log_file, progress)) as log,
        record.scratch_folder() as scratch,
    ):
        log.phase(f"making it: {reason}")
        built, size, steps = backend.make_base(definition, record.layout, scratch, log, stop)
        report = BaseReport(
            name=name,
            definition_digest=definition_digest(definition),
            image_digest=built.digest,
            bytes=size,
            built=now(),
            steps=tuple(StepReport(name=s.name, seconds=s.seconds, cached=s.cached) for s in steps),
            engines=engines,
        )
        record.write(report)
        log.done(True, "made")
    return report
