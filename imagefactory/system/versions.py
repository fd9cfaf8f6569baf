"""Versions that programs and Debian's packages give, as numbers that can be compared."""

from __future__ import annotations

import re

_NUMBERS = re.compile(r"v?(?:\d+:)?(\d+(?:\.\d+)*)")  # behind a letter or Debian's epoch (deb-version(7))


def numbers(version: str) -> tuple[int, ...]:
    """The numbers at the beginning of a version: ``28.5.2+dfsg4`` is (28, 5, 2), and ``v0.29.1`` (0, 29, 1).

    Nothing where it begins with none.
    """
    match = _NUMBERS.match(version)
    return tuple(map(int, match[1].split("."))) if match else ()
