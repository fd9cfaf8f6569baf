"""What a disk's file says of itself before anything opens it: its format and sizes."""

from __future__ import annotations

import os
import stat
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from imagefactory.errors import BuildFailed, disk_error

_QCOW2 = b"QFI\xfb"
_HEADER = struct.Struct(">4sIQIIQ")  # magic, version, where a backing file's name is and its length, size
_FEATURES = struct.Struct(">Q")  # from byte 72 on, in version 3
_DATA_FILE = 1 << 2
_SECTOR = 512


@dataclass(frozen=True, slots=True)
class DiskFacts:
    """A disk's ``format``, "qcow2" or "raw"; the bytes that a machine sees of it, and that its file takes."""

    format: str
    virtual_size: int
    allocated: int


def file_facts(disk: Path, name: str) -> DiskFacts:
    """The same of a file by its path, whatever messages call it."""
    try:
        with disk.open("rb") as file:
            return disk_facts(Path(name), file)
    except OSError as error:
        raise disk_error(error, disk) from None


def disk_facts(disk: Path, file: IO[bytes]) -> DiskFacts:
    """The facts of an open file; ``disk`` is how messages call it. A qcow2 file may have others read in its
    place, by their names (https://qemu.org/docs/master/interop/qcow2.html): such a one is refused.

    Raises BuildFailed where it is no whole disk.
    """
    found = os.fstat(file.fileno())
    if not stat.S_ISREG(found.st_mode) or not found.st_size:
        raise BuildFailed(f"{disk} is no disk: it is no file, or empty", hint="build it again")
    file.seek(0)
    head = file.read(80)
    if not head.startswith(_QCOW2):
        if found.st_size % _SECTOR:
            raise BuildFailed(
                f"{disk} is no disk: {found.st_size} bytes are no whole sectors", hint="build it again"
            )
        return DiskFacts("raw", found.st_size, found.st_blocks * _SECTOR)
    if len(head) < 80:
        raise BuildFailed(f"{disk} ends within its header", hint="build it again")
    _, version, backing, _, _, size = _HEADER.unpack_from(head)
    features = _FEATURES.unpack_from(head, 72)[0] if version > 2 else 0
    if backing or features & _DATA_FILE:
        raise BuildFailed(
            f"{disk} is a part of a disk, and names another file for the rest",
            hint="make one file of both: qemu-img convert -O qcow2",
        )
    return DiskFacts("qcow2", size, found.st_blocks * _SECTOR)
