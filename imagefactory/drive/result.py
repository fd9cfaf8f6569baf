"""What was asked of a run, and what became of each thing in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from imagefactory.errors import FactoryError, Interrupted
from imagefactory.model.report import Report
from imagefactory.model.target import TargetId

Did = Literal["lock", "fetch", "build", "test", "nothing", "skipped", "failed"]


@dataclass(frozen=True, slots=True)
class Options:
    """``cache``: whether earlier builds may serve. ``locked``: refuse what is not locked."""

    cache: bool = True
    locked: bool = False


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a target, or of the inputs of an image (then without ``kind``).

    ``seconds`` is wall-clock time. ``warnings`` are what was said before it started.
    """

    name: str
    action: Did
    seconds: float
    reasons: tuple[str, ...] = ()
    report: Report | None = None
    error: FactoryError | None = None
    kind: str = ""
    warnings: tuple[str, ...] = ()

    @property
    def id(self) -> TargetId:
        """The target."""
        return TargetId(self.kind, self.name)


class Stopped(Interrupted):
    """A run was interrupted; ``finished`` is what had been made or tested by then."""

    def __init__(self, finished: Sequence[Result]) -> None:
        super().__init__("interrupted")
        self.finished = tuple(finished)


def now() -> str:
    """The time, UTC, ISO 8601, to the second. Only reports hold it: no image depends on it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
