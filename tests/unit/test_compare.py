"""What is a difference between two runs of a test, and what is not."""

from __future__ import annotations

import pytest

from imagefactory.targets.oci.subject import WORK as DOCKER_WORK
from imagefactory.targets.sif.subject import WORK as SIF_WORK
from imagefactory.testing.compare import difference

SAME = [
    ("noise 3.01\nmean 5", "mean 5\nnoise 3.01\n"),
    ("started 2026-11-26T01:02:03", "started 2025-01-02T11:12:13"),
    ("Thu Nov 26 01:02:03 2026", "Fri Nov  7 11:12:13 2026"),
    ("[ 01:02:03.123 ] ready", "[ 21:02:03.5 ] ready"),
    ("took 0.12 s", "took 3 s"),
    ("done in 1.5e-3 seconds", "done in 2 seconds"),
    ("run by 12345 in 54321", "run by researcher in researchers"),
    (f"wrote {DOCKER_WORK}/out.fits", f"wrote {SIF_WORK}/out.fits"),
    ("log in /tmp/home-12345/x", "log in /mnt/home/x"),
    ("object at 0x7f12ab34cd56", "object at 0x7f0000000000"),
    ("pid 12", "pid 34567"),
    ("temporary /tmp/tmpab12", "temporary /var/tmp/xyz"),
    ("\x1b[31mred\x1b[0m", "red"),
    ("progress 1%\rprogress 2%\r\n\n", "progress 2%"),
    (
        "\r  0%|  | 0/40 [00:00<?, ?it/s]\r100%|████| 40/40 [00:00<00:00, 434.13it/s]",
        "\r100%|████| 40/40 [01:02<00:00,  1.20s/it]",
    ),
]


def never() -> str:
    raise AssertionError("the test was run again, without need")


@pytest.mark.parametrize(("ours", "theirs"), SAME)
def test_what_differs_between_any_two_runs_is_no_difference(ours: str, theirs: str) -> None:
    assert difference(ours, theirs, never) == ""


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("period = 12.3 s", "period = 99.9 s"),
        ("Dec 45", "Dec 46"),
        ("Declination 12", "Declination 13"),
        ("Marker 3 = ok", "Marker 4 = ok"),
    ],
)
def test_science_is_not_taken_for_noise(ours: str, theirs: str) -> None:
    assert difference(ours, theirs, lambda: ours)


def test_another_number_is_a_difference() -> None:
    found = difference("noise 3.01", "noise 3.02", lambda: "noise 3.01")
    assert found == "only Docker's output has 'noise 3.01'; only this one's has 'noise 3.02'"


def test_a_line_more_or_less_is_a_difference() -> None:
    assert difference("a", "a\nwarning", lambda: "a") == "only this one's has 'warning'"
    assert difference("a\nb", "a", lambda: "a\nb") == "only Docker's output has 'b'"
    assert difference("a\na", "a", lambda: "a\na") == "only Docker's output has 'a'"


def test_lines_that_differ_in_docker_as_well_are_left_out() -> None:
    ours, theirs = "loss: 0.5012\nfine", "loss: 0.7\nfine"
    assert difference(ours, theirs, lambda: "loss: 0.43\nfine") == ""
    assert difference(ours, theirs + "\nbad", lambda: "loss: 0.43\nfine") == "only this one's has 'bad'"


def test_lines_that_may_vary_are_left_out() -> None:
    assert difference("seed 1\nx", "seed 2\nx", never, ["^seed"]) == ""


def test_long_differences_are_cut_short() -> None:
    found = difference("", "\n".join(f"line {chr(97 + n)} {'x' * 500}" for n in range(5)), lambda: "")
    assert found.endswith("and 3 more lines")
    assert len(found) < 450
