"""The recipe's own tests: one run of the application, and what must come of it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence

from imagefactory.model.recipe import Measure, SmokeTest
from imagefactory.model.report import ExpectationReport, TestReport
from imagefactory.testing.subject import Call, Mount, Outcome, Subject

LAST_LINES = 10


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
    expectations = tuple(_stopped(outcome) or _expectations(test, outcome, measures))
    report = TestReport(
        name=test.name,
        kind="smoke",
        status="passed",
        seconds=round(outcome.seconds, 3),
        measures=measures,
    )
    if not all(each.fine for each in expectations):
        report = failed(report, test, outcome.output, expectations)
    return report, transcript(test, outcome)


def failed(
    report: TestReport, test: SmokeTest, output: str, expectations: tuple[ExpectationReport, ...]
) -> TestReport:
    """The report of a test that did not keep all that is expected of it, for a person to see why."""
    lines = [line for line in output.splitlines() if line.strip()]
    return report.model_copy(
        update={
            "status": "failed",
            "reason": "; ".join(each.what for each in expectations if not each.fine),
            "command": test.command,
            "expectations": expectations,
            "last_lines": tuple(lines[-LAST_LINES:]),
        }
    )


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


def full_test(test: SmokeTest, options: str) -> TestReport:
    """The report of a long test where none is asked for."""
    reason = "a full test: --full runs it"
    return TestReport(
        name=test.name, kind="smoke", options=options, status="not-run", reason=reason, full=True
    )


def _stopped(outcome: Outcome) -> list[ExpectationReport]:
    """Where a bound ended it, nothing else counts."""
    return [ExpectationReport(what=outcome.stopped, fine=False)] if outcome.stopped else []


def _expectations(
    test: SmokeTest, outcome: Outcome, measures: dict[str, float]
) -> Iterator[ExpectationReport]:
    expected = "" if outcome.status == test.status else f", expected {test.status}"
    yield ExpectationReport(what=f"exit status {outcome.status}{expected}", fine=not expected)
    for pattern in test.output:
        fine = re.search(pattern, outcome.output, re.MULTILINE) is not None
        what = f"output matches '{pattern}'" if fine else f"no output matches '{pattern}'"
        yield ExpectationReport(what=what, fine=fine)
    for name, measure in test.measures.items():
        yield _measured(name, measure, outcome.output, measures)
    for file in test.files:
        size = outcome.sizes.get(file)
        state = "missing" if size is None else "there" if size else "empty"
        yield ExpectationReport(what=f"the file {file} is {state}", fine=bool(size))


def _measured(name: str, measure: Measure, output: str, measures: dict[str, float]) -> ExpectationReport:
    match = re.search(measure.pattern, output, re.MULTILINE)
    if match is None:
        return ExpectationReport(what=f"{name}: no output matches '{measure.pattern}'", fine=False)
    number = _number(match[1])
    if number is None:
        return ExpectationReport(what=f"{name}: is {match[1]}, not a number", fine=False)
    measures[name] = number
    fine = measure.min <= number <= measure.max
    bounds = f"{measure.min:g} to {measure.max:g}"
    return ExpectationReport(what=f"{name} is {number:g}, expected {bounds}", fine=fine)


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
