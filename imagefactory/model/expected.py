"""What a file that is fetched must be."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Expected:
    """Its sha256, and its size in bytes where that is known, else the ``most`` that it may have, if there is
    such a bound. ``what`` names it for people. Where only its sha512 is known, that counts.
    """

    what: str
    sha256: str
    bytes: int | None = None
    most: int | None = None
    sha512: str = ""

    @property
    def algorithm(self) -> str:
        """What its digest is made with, as hashlib calls it."""
        return "sha512" if self.sha512 else "sha256"

    @property
    def digest(self) -> str:
        """What is known of its content."""
        return self.sha512 or self.sha256
