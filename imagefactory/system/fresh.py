"""When a file must be read again: what is read of one stays true as long as it is the same file."""

from __future__ import annotations

from pathlib import Path

Mark = tuple[int, int, int]


def mark_of(file: Path) -> Mark | None:
    """What changes whenever a file is written anew or replaced; None where there is none."""
    try:
        facts = file.stat()
    except OSError:
        return None
    return facts.st_ino, facts.st_mtime_ns, facts.st_size
