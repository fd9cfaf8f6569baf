"""Versions that programs and Debian's packages give, as numbers that can be compared."""

from __future__ import annotations

import re

from packaging.version import InvalidVersion, Version

_NUMBERS = re.compile(r"v?(?:\d+:)?(\d+(?:\.\d+)*)")  # behind a letter or Debian's epoch (deb-version(7))


def numbers(version: str) -> tuple[int, ...]:
    """The numbers at the beginning of a version: ``28.5.2+dfsg4`` is (28, 5, 2), and ``v0.29.1`` (0, 29, 1).

    Nothing where it begins with none.
    """
    match = _NUMBERS.match(version)
    return tuple(map(int, match[1].split("."))) if match else ()


# What Debian adds where it had to leave something out of upstream's archive, or to mend a stable release.
_REPACKED = re.compile(r"[+.~-](?:dfsg|ds|repack|debian)[.+~0-9]*$|\+deb\d+u\d+$")
_EPOCH = re.compile(r"^\d+[:!]")


def without_epoch(version: str) -> str:
    """``1!2.0``, as Python and conda write it, is ``2.0``; so is Debian's ``1:2.0``."""
    return _EPOCH.sub("", version)


def upstream(version: str) -> str:
    """The version that upstream gave to a Debian package: of ``1:4.4.3+dfsg-1+b1`` it is ``4.4.3``
    (deb-version(7)).
    """
    plain = without_epoch(version)
    plain = plain.rpartition("-")[0] or plain
    plain = plain.rpartition("+really")[2]  # behind a higher version, which was taken back
    return _REPACKED.sub("", plain) or plain


def comparable(version: str) -> Version:
    """A version that can be compared with any other; one that is no Python version by its numbers alone."""
    try:
        return Version(version.replace("~", ""))
    except InvalidVersion:
        return Version(".".join(map(str, numbers(version))) or "0")
