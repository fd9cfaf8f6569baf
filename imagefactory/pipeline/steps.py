"""Small things that the parts of the pipeline share."""

from __future__ import annotations

from datetime import UTC, datetime


def now() -> str:
    """The time, UTC, ISO 8601, to the second. Only reports hold it: no image depends on it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
