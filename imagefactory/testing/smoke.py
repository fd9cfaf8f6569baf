"""The recipe's own tests: one run of the application, and what must come of it."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from imagefactory.model.recipe import SmokeTest
from imagefactory.model.report import TestReport
from imagefactory.testing.subject import Call, Mount, Outcome, Subject

LAST_LINES = 5


def smoke_test(subject: Subject, test: SmokeTest, mounts: tuple[Mount, ...]) -> tuple[TestReport, str]:
    """Run ``test`` and look at what came of it: the report, and all that it wrote, in words.

    Raises only what the engine raises.
    """
    outcome = subject.run(
        Call(
            command=test.command,
            mounts=mounts,
            expect=test.files,
            time_limit=test.time_limit,
            memory_limit=test.memory_limit,
            write_limit=test.write_limit,
        )
    )
    measures: dict[str, float] = {}
    reasons = _complaints(test, outcome, measures)
    report = TestReport(
        name=test.name,
        kind="smoke",
        status="failed" if reasons else "passed",
        reason="; ".join(reasons),
        seconds=round(outcome.seconds, 3),
        measures=measures,
    )
    return report, transcript(test, outcome)


def transcript(test: SmokeTest, outcome: Outcome) -> str:
    """All that a test wrote: its output, its status, and the files that are expected of it."""
    files = (f"[file {name}: {_file(test, outcome.sizes.get(name))}]" for name in test.files)
    return "\n".join([outcome.output.rstrip("\n"), f"[exit status {outcome.status}]", *files, ""])


def _file(test: SmokeTest, size: int | None) -> str:
    if size is None:
        return "missing"
    return f"{size} bytes" if test.same_size else "there" if size else "empty"


def not_true(test: SmokeTest, stand_ins: Sequence[str]) -> TestReport:
    """The report of a test that would say nothing: the image holds stand-ins for the true software."""
    named = ", ".join(stand_ins[:3]) + (f" and {len(stand_ins) - 3} more" if len(stand_ins) > 3 else "")
    reason = f"needs the true software, and this image holds stand-ins: {named}"
    return TestReport(name=test.name, kind="smoke", status="not-run", reason=reason)


def _complaints(test: SmokeTest, outcome: Outcome, measures: dict[str, float]) -> list[str]:
    if outcome.stopped:
        return [outcome.stopped + _last_lines(outcome)]
    reasons = []
    if outcome.status != test.status:
        reasons.append(f"exit status {outcome.status}, expected {test.status}")
    for pattern in test.output:
        if not re.search(pattern, outcome.output, re.MULTILINE):
            reasons.append(f"no output matches '{pattern}'")
    for name, measure in test.measures.items():
        match = re.search(measure.pattern, outcome.output, re.MULTILINE)
        number = _number(match[1]) if match else None
        if number is None:
            reason = f"is {match[1]}, not a number" if match else f"no output matches '{measure.pattern}'"
            reasons.append(f"{name}: {reason}")
            continue
        measures[name] = number
        if not measure.min <= number <= measure.max:
            reasons.append(f"{name} is {number:g}, expected {measure.min:g} to {measure.max:g}")
    for file in test.files:
        size = outcome.sizes.get(file)
        if not size:
            reasons.append(f"the file {file} is {'missing' if size is None else 'empty'}")
    if reasons:
        reasons[-1] += _last_lines(outcome)
    return reasons


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _last_lines(outcome: Outcome) -> str:
    lines = [line for line in outcome.output.splitlines() if line.strip()][-LAST_LINES:]
    return "; last output: " + " | ".join(lines) if lines else "; it wrote nothing"
