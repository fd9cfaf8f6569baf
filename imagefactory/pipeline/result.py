"""What was asked of a run, and what became of each image in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from imagefactory.errors import FactoryError
from imagefactory.model.report import BaseReport, Report


@dataclass(frozen=True, slots=True)
class Options:
    """``cache``: whether earlier builds may serve. ``debug_shell``: open one where a build breaks."""

    cache: bool = True
    debug_shell: bool = False


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one image or base image; ``seconds`` is wall-clock time."""

    id: str
    action: Literal["build", "test", "nothing", "failed"]
    seconds: float
    reasons: tuple[str, ...] = ()
    report: Report | BaseReport | None = None
    error: FactoryError | None = None
