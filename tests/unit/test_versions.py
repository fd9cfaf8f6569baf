"""Versions of programs and packages, as numbers."""

from __future__ import annotations

import pytest

from imagefactory.system.versions import comparable, numbers, upstream, without_epoch


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


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("2.22-1", "2.22"),
        ("1:2.22-1.1", "2.22"),
        ("4.4.3+dfsg-1+b1", "4.4.3"),
        ("3.13.6+ds-1", "3.13.6"),
        ("2.7.1+dfsg-5+deb12u1", "2.7.1"),
        ("1.0+dfsg1-2", "1.0"),
        ("1.0~dfsg.2-2", "1.0"),
        ("1.0+repack-2", "1.0"),
        ("3.18.5+dfsg1-1", "3.18.5"),
        ("12.2.0-14+deb12u1", "12.2.0"),
        ("2.0-rc1-3", "2.0-rc1"),
        ("2.0~rc1-3", "2.0~rc1"),
        ("20230101+git1234-1", "20230101+git1234"),
        ("2.5.0+really2.4.1-1", "2.4.1"),
        ("20230311", "20230311"),
        ("12+deb12u5", "12"),
        ("ds1-1", "ds1"),
    ],
)
def test_what_upstream_calls_a_debian_package_s_version(version: str, expected: str) -> None:
    assert upstream(version) == expected


def test_epochs_are_no_part_of_a_version() -> None:
    assert [without_epoch(text) for text in ("1!2.0", "2.0", "1.0+local")] == ["2.0", "2.0", "1.0+local"]


def test_versions_of_all_kinds_have_an_order() -> None:
    ordered = ["1.9", "1.10~rc1", "1.10", "1.10.1", "2.0.dev1", "2.0", "2209.6", "3000-x86"]
    ordered.reverse()
    assert sorted(ordered, key=comparable) == ["1.9", *ordered[-2::-1]]
