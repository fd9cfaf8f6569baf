"""Data volumes and shares of a network, as the machine finds and mounts them by itself."""

from __future__ import annotations

from imagefactory.model.spec import File
from imagefactory.system.templates import text_of

_PROGRAM = "usr/local/sbin/data-volume"
_SHARES = "network-shares.service"
_UNITS = "usr/lib/systemd/system"
_PLACES = {
    "90-data-volume.rules": "usr/lib/udev/rules.d/90-data-volume.rules",
    "data-volume@.service": f"{_UNITS}/data-volume@.service",
    _SHARES: f"{_UNITS}/{_SHARES}",
}
VOLUME_LINKS = {f"{_UNITS}/multi-user.target.wants/{_SHARES}": f"../{_SHARES}"}
"""Links that have the machine start it, with where they lead."""


def volume_files() -> tuple[File, ...]:
    """The program, and what starts it: the same for all images. Pure."""
    files = [File(place, 0o644, text_of(__package__, name).encode()) for name, place in _PLACES.items()]
    return (File(_PROGRAM, 0o755, text_of(__package__, "data_volume.py").encode()), *files)
