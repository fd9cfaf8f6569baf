"""What a smoke test compares, on an image that answers what the test wants."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from imagefactory.model.recipe import Measure, SmokeTest
from imagefactory.model.report import TestReport
from imagefactory.testing.smoke import smoke_test
from imagefactory.testing.subject import Call, Mount, Outcome

WHOLE: dict[str, Any] = {
    "name": "runs",
    "command": ("hello", "--fast"),
    "output": ("^level", "speed: [0-9]+$"),
    "measures": {"level": Measure(pattern=r"level (\S+)", min=1, max=2.5)},
    "files": ("out.fits",),
    "time_limit": 7,
    "memory_limit": "2 GiB",
    "write_limit": "3 MiB",
}


class Subject:
    """Answers every call the same, and remembers them."""

    local = True

    def __init__(self, **outcome: Any) -> None:
        sizes = {"out.fits": 10}
        output = "start\nlevel 2.0\nspeed: 12\n"
        whole = {"status": 0, "output": output, "seconds": 1.23456, "sizes": sizes}
        self.outcome = Outcome(**{**whole, **outcome})
        self.calls: list[Call] = []

    def run(self, call: Call) -> Outcome:
        self.calls.append(call)
        return self.outcome


def outcome_of(test: dict[str, Any] | None = None, **outcome: Any) -> TestReport:
    subject, whole = Subject(**outcome), SmokeTest(**{**WHOLE, **(test or {})})
    return smoke_test(subject, whole, ())[0]  # type: ignore[arg-type]


def test_a_test_passes_with_its_measures() -> None:
    report = outcome_of()
    assert (report.name, report.kind, report.status, report.reason) == ("runs", "smoke", "passed", "")
    assert (report.seconds, report.measures) == (1.235, {"level": 2.0})


def test_the_image_is_called_as_the_recipe_says() -> None:
    subject, mounts = Subject(), (Mount(Path("tests"), "/tests"),)
    smoke_test(subject, SmokeTest(**WHOLE), mounts)  # type: ignore[arg-type]
    (call,) = subject.calls
    assert (call.command, call.mounts, call.expect) == (("hello", "--fast"), mounts, ("out.fits",))
    assert (call.time_limit, call.memory_limit, call.write_limit) == (7, 2 << 30, 3 << 20)


@pytest.mark.parametrize(
    ("test", "outcome", "reason"),
    [
        ({}, {"status": 1}, "exit status 1, expected 0"),
        ({"status": 3}, {}, "exit status 0, expected 3"),
        ({"output": ("^speed$",)}, {}, "no output matches '^speed$'"),
        ({}, {"sizes": {}}, "the file out.fits is missing"),
        ({}, {"sizes": {"out.fits": 0}}, "the file out.fits is empty"),
        ({}, {"stopped": "it took longer than 7 seconds"}, "it took longer than 7 seconds"),
        (
            {"output": (), "measures": {}, "files": ()},
            {"output": "\n \n", "status": 2},
            "exit status 2, expected 0",
        ),
        (
            {"output": ()},
            {"output": "level 2.6\n"},
            "level is 2.6, expected 1 to 2.5",
        ),
        (
            {"output": ()},
            {"output": "level high\n"},
            "level: is high, not a number",
        ),
        (
            {"output": ()},
            {"output": "level nan\n"},
            "level: is nan, not a number",
        ),
        (
            {"output": ("^x$",), "files": (), "measures": {}},
            {"output": "1\n2\n3\n4\n5\n6\n", "status": 1},
            "exit status 1, expected 0; no output matches '^x$'",
        ),
    ],
)
def test_every_difference_is_told(test: dict[str, Any], outcome: dict[str, Any], reason: str) -> None:
    report = outcome_of(test, **outcome)
    assert (report.status, report.reason) == ("failed", reason)


@pytest.mark.parametrize(
    ("test", "sizes", "says"),
    [
        ({}, {"out.fits": 10}, "[file out.fits: there]"),
        ({"same_size": True}, {"out.fits": 10}, "[file out.fits: 10 bytes]"),
        ({}, {"out.fits": 0}, "[file out.fits: empty]"),
        ({}, {}, "[file out.fits: missing]"),
    ],
)
def test_sizes_of_files_are_noted_only_where_the_test_says_so(
    test: dict[str, Any], sizes: dict[str, int], says: str
) -> None:
    """What is noted is compared between kinds of image; programs write dates and paths into files."""
    subject, whole = Subject(sizes=sizes), SmokeTest(**{**WHOLE, **test})
    text = smoke_test(subject, whole, ())[1]  # type: ignore[arg-type]
    assert text == f"start\nlevel 2.0\nspeed: 12\n[exit status 0]\n{says}\n"


def test_what_failed_is_told_one_by_one() -> None:
    """Each expectation with fine or not, and how the output ended."""
    report = outcome_of({"status": 1}, sizes={})
    assert report.command == ("hello", "--fast")
    assert [(each.what, each.fine) for each in report.expectations] == [
        ("exit status 0, expected 1", False),
        ("output matches '^level'", True),
        ("output matches 'speed: [0-9]+$'", True),
        ("level is 2, expected 1 to 2.5", True),
        ("the file out.fits is missing", False),
    ]
    assert report.last_lines == ("start", "level 2.0", "speed: 12")
    assert (outcome_of().command, outcome_of().expectations, outcome_of().last_lines) == ((), (), ())
    long = outcome_of(output="\n".join(map(str, range(30))))
    assert long.last_lines == tuple(map(str, range(20, 30)))


@pytest.mark.parametrize("level", ["1", "2.5"])
def test_the_bounds_of_a_measure_belong_to_it(level: str) -> None:
    assert outcome_of({"output": ()}, output=f"level {level}\n").status == "passed"
