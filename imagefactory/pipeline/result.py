"""What was asked of a run, and what became of each image in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from imagefactory.errors import FactoryError, TestsFailed
from imagefactory.model.report import BaseReport, Report, TestReport
from imagefactory.model.spec import Format
from imagefactory.pipeline.session import Session


@dataclass(frozen=True, slots=True)
class Options:
    """``cache``: whether earlier builds may serve. ``locked``: refuse what is not locked. ``sif``: make SIF
    files too.
    """

    cache: bool = True
    locked: bool = False
    sif: bool = False


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one image or base image; ``seconds`` is wall-clock time."""

    id: str
    action: Literal["lock", "fetch", "build", "test", "nothing", "failed"]
    seconds: float
    reasons: tuple[str, ...] = ()
    report: Report | BaseReport | None = None
    error: FactoryError | None = None
    format: Format = "oci"


def now() -> str:
    """The time, UTC, ISO 8601, to the second. Only reports hold it: no image depends on it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def finished(
    session: Session,
    format: Format,
    action: Literal["build", "test", "nothing"],
    reasons: tuple[str, ...],
    report: Report,
    tests: Sequence[TestReport],
    seconds: float,
) -> Result:
    """The result of what was built or tested: a failure where one of its tests failed."""
    failed = [test for test in tests if test.status == "failed"]
    what = "SIF file: " if format == "sif" else ""
    session.progress.done(report.id, not failed, what + ("tests failed" if failed else "done"))
    if not failed:
        return Result(report.id, action, seconds, reasons, report, format=format)
    lines = [f"{report.id}: {test.title}: {test.reason}" for test in failed]
    error = TestsFailed("\n".join(lines), hint=f"the log is build/{report.id}/build.log")
    return Result(report.id, "failed", seconds, reasons, report, error, format)
