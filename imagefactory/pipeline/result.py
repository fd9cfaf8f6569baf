"""What was asked of a run, and what became of each image in it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from imagefactory.errors import FactoryError
from imagefactory.model.report import BaseReport, Report


@dataclass(frozen=True, slots=True)
class Options:
    """``cache``: whether earlier builds may serve. ``locked``: refuse what is not locked."""

    cache: bool = True
    locked: bool = False


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one image or base image; ``seconds`` is wall-clock time."""

    id: str
    action: Literal["lock", "fetch", "build", "test", "nothing", "failed"]
    seconds: float
    reasons: tuple[str, ...] = ()
    report: Report | BaseReport | None = None
    error: FactoryError | None = None


def now() -> str:
    """The time, UTC, ISO 8601, to the second. Only reports hold it: no image depends on it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
