"""What a file that is fetched must be."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Expected:
    """Its sha256, and its size in bytes where that is known. ``what`` names it for people."""

    what: str
    sha256: str
    bytes: int | None = None
