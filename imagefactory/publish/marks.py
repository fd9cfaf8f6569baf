"""What tells an image that is under way from others, and from one whose upload was killed."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from imagefactory.publish.properties import OWN
from imagefactory.system.cgroups import abandoned, own_name

UPLOADING = f"{OWN}uploading"
"""The tag of an image under way."""
MARK = f"{OWN}upload"
"""The property that says which process makes it."""
MAX_AGE = datetime.timedelta(days=1)
"""What another machine began so long ago is taken for abandoned: nobody here can look."""
_BOOT = Path("/proc/sys/kernel/random/boot_id")


def own_mark() -> str:
    """The mark of this process: where it runs, and which one it is."""
    return f"{_boot()}/{own_name()}"


def is_abandoned(image: Mapping[str, Any]) -> bool:
    """Whether it is an image, as Glance tells of it, that was under way and that nobody works on any more."""
    if UPLOADING not in image["tags"]:
        return False
    boot, _, name = str(image.get(MARK, "")).partition("/")
    if boot == _boot() and abandoned(name):
        return True
    began = datetime.datetime.fromisoformat(image["created_at"])
    return datetime.datetime.now(datetime.UTC) - began > MAX_AGE


def _boot() -> str:
    """What this machine has been called since it started."""
    return _BOOT.read_text().strip()
