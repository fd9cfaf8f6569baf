"""Disks that were made and tested, uncompressed on request."""

from __future__ import annotations

import contextlib
import time

from imagefactory.drive.guard import guarded
from imagefactory.drive.result import Result
from imagefactory.drive.session import Session
from imagefactory.drive.worker import Order, job_of
from imagefactory.errors import BadInput
from imagefactory.model.report import HeldReport, Report
from imagefactory.model.spec import ImageDefinition
from imagefactory.model.target import Target, TargetId, Unlocked
from imagefactory.system.log import Log
from imagefactory.targets.kind import Disks, Held, raw_of
from imagefactory.targets.register import called, line, shown


def have_raw(session: Session, image: ImageDefinition) -> Result:
    """Have the image's disk stand beside itself as a raw file, and its report hold that; a failure is a
    result too. Nothing is done where it is there.
    """
    (kind,) = (each for each in session.kinds.values() if isinstance(each, Disks))
    id = TargetId(kind.name, image.id)
    record = session.record(id)

    def work() -> Result:
        start = time.monotonic()
        target = session.resolver.graph([image], [id])[id]
        report = kept_report(session, image, target)
        if _is_there(Held(report, record)):
            return Result(image.id, "nothing", 0.0, report=report, kind=id.kind)
        assert isinstance(target, Target)
        kept = session.kept(target, report)
        kept.kind.verify(kept)
        with (
            contextlib.closing(Log(shown(id), record.log_file, session.progress, append=True)) as log,
            record.scratch_folder() as scratch,
        ):
            job = job_of(Order(session.run, target, (), "test", ()), session, log, scratch)
            made = kind.write_raw(job, kept)
        raw = HeldReport(file=_name(made.path), digest=made.digest, bytes=made.bytes)
        report = report.model_copy(update={"raw": raw})
        record.write(report, made=False)
        return Result(image.id, "build", time.monotonic() - start, report=report, kind=id.kind)

    return guarded(session, shown(id), record, work, Result(image.id, "failed", 0.0, kind=id.kind))


def kept_report(session: Session, image: ImageDefinition, target: Target | Unlocked) -> Report:
    """The report of the disk that was kept. Raises BadInput where there is none."""
    id = target.id
    report = session.last(id)
    asked = f" --format {id.kind}" if line(id.kind).asked else ""
    hint = f"run imagefactory build {image.selector}{asked}"
    if report is None or report.status != "passed" or not report.kept:
        raise BadInput(f"{called(id)} is not built and tested", hint=hint)
    if not isinstance(target, Target):
        raise BadInput(f"{image.id} is not locked", hint=hint)
    if missing := session.missing(target, report):
        raise BadInput(f"{called(id)}: {missing}", hint=hint)
    return report


def _is_there(held: Held) -> bool:
    raw = raw_of(held)
    return bool(raw and held.report.raw and raw.is_file() and raw.stat().st_size == held.report.raw.bytes)


def _name(path: str) -> str:
    return path.rpartition("/")[2]
