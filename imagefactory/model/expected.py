"""What a file that is fetched must be."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Expected:
    """Its sha256, and its size in bytes where that is known, else the ``most`` that it may have, if there is
    such a bound. ``what`` names it for people.
    """

    what: str
    sha256: str
    bytes: int | None = None
    most: int | None = None
