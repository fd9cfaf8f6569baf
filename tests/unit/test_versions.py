"""Versions of programs and packages, as numbers."""

from __future__ import annotations

import pytest

from imagefactory.system.versions import numbers


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("28.5.2+dfsg4", (28, 5, 2)),
        ("v0.29.1+ds1", (0, 29, 1)),
        ("26.0~rc1", (26, 0)),
        ("1.4.5-1.el9", (1, 4, 5)),
        ("4.5.1", (4, 5, 1)),
        ("2.36-9+deb12u10", (2, 36)),
        ("1:3.11.2-1+b1", (3, 11, 2)),
        ("27", (27,)),
        ("1.3.rc", (1, 3)),
        ("unknown", ()),
        ("", ()),
    ],
)
def test_the_numbers_of_a_version(version: str, expected: tuple[int, ...]) -> None:
    assert numbers(version) == expected
