"""When a file must be read again: what is read of one stays true as long as it is the same file."""

from __future__ import annotations

from pathlib import Path

Mark = tuple[int, int, int]


def mark_of(file: Path) -> Mark | None:
    """What changes whenever a file is written anew or replaced; None where there is none."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
