"""Which disks folders are on, and what is free there."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

_GIB = 1 << 30


def by_disk(wanted: Mapping[str, int]) -> dict[str, tuple[int, int]]:
    """For each file system the bytes that are wanted of it in folders, and how many are free."""
    places: dict[int, str] = {}
    needed: dict[str, int] = {}
    for folder, count in wanted.items():
        there = next((path for path in (Path(folder), *Path(folder).parents) if path.exists()), Path("/"))
        place = places.setdefault(there.stat().st_dev, str(there))
        needed[place] = needed.get(place, 0) + count
    return {place: (count, shutil.disk_usage(place).free) for place, count in needed.items()}


def gib(count: int) -> str:
    """Bytes, as room on disks is told."""
    return f"{count / _GIB:.3g} GiB"
