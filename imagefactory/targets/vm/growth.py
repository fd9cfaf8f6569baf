"""How large an image is, beside the one before."""

from __future__ import annotations

import time
from collections.abc import Sequence

from imagefactory.model.report import PastReport, TestReport

WORTH_A_LOOK = 10
"""Percent that it may grow without a word."""
_MB = 1_000_000


def size_test(size: int, history: Sequence[PastReport]) -> TestReport:
    """Say whether it grew: ``size`` in bytes, against the last one that passed. That is no failure, for there
    may be good reasons. What is tested again is in its own history, with the same size.
    """
    start = time.monotonic()
    before = [past.bytes for past in history if past.status == "passed" and past.bytes not in (0, size)]
    measures, reason = {"bytes": float(size)}, ""
    if before:
        measures["bytes before"] = float(before[-1])
        grown = (size - before[-1]) * 100 / before[-1]
        if grown > WORTH_A_LOOK:
            sizes = f"from {before[-1] / _MB:.0f} to {size / _MB:.0f} MB"
            reason = f"it has grown by {grown:.0f} %, {sizes}: look at what came in"
    return TestReport(
        name="size",
        kind="contract",
        status="passed",
        reason=reason,
        seconds=round(time.monotonic() - start, 3),
        measures=measures,
    )
