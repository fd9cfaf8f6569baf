"""What the reader of a disk answers, as values. It read what is not trusted, so that its answers are not
either.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from imagefactory.errors import BuildFailed

# Of the discoverable partitions specification: the root of x86-64 and of aarch64
# (https://uapi-group.org/specifications/specs/discoverable_partitions_specification/).
_ROOTS = ("4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709", "B921B045-1DF0-41C3-AF44-4C0D280D3FAE")
_NUMBER = re.compile(r"/in/disk(\d+)")


@dataclass(frozen=True, slots=True)
class Partition:
    """Its number, where it begins and how long it is, in bytes; its ``type`` (a GUID, in capitals, or a
    number of MBR's), identifier, name and attributes, as sfdisk tells them.
    """

    number: int
    start: int
    size: int
    type: str
    id: str = ""
    name: str = ""
    attributes: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """One file: its ``inode``, ``mode`` with the kind of file, its owner, and ``size`` in bytes (0 for
    folders).
    """

    inode: int
    mode: int
    uid: int
    gid: int
    size: int


@dataclass(frozen=True, slots=True)
class Space:
    """Blocks of ``block`` bytes: all, those that are free, and those of them that hold anything but zeros
    (``dirty``), which a compressed disk keeps for nothing, and which may be what was deleted. ``state`` is
    "clean" after a proper end; ``features`` has needs_recovery where there was none.
    """

    block: int
    blocks: int
    free: int
    dirty: int
    state: str
    features: tuple[str, ...]

    @property
    def clean(self) -> bool:
        """Whether it was unmounted."""
        return self.state == "clean" and "needs_recovery" not in self.features


def table(said: bytes, name: str) -> tuple[Partition, ...]:
    """The partitions that ``sfdisk --json`` tells of. Raises BuildFailed where it tells of none."""
    try:
        found = json.loads(said)["partitiontable"]
        sector = int(found.get("sectorsize", 512))
        return tuple(
            sorted((_partition(each, sector) for each in found["partitions"]), key=lambda each: each.start)
        )
    except (ValueError, LookupError, TypeError, AttributeError):
        raise BuildFailed(f"{name} has no partition table that sfdisk knows", hint="build it again") from None


def _partition(said: Mapping[str, Any], sector: int) -> Partition:
    number = _NUMBER.fullmatch(str(said["node"]))
    if number is None:
        raise ValueError
    texts = (str(said.get(key, "")) for key in ("type", "uuid", "name", "attrs"))
    return Partition(int(number[1]), int(said["start"]) * sector, int(said["size"]) * sector, *texts)


def root_of(partitions: tuple[Partition, ...], number: int | None, name: str) -> Partition:
    """The partition of that number, or the one whose type is that of a root; else the only one there is.
    Raises BuildFailed where there is none.
    """
    found = [
        each
        for each in partitions
        if (each.type.upper() in _ROOTS if number is None else each.number == number)
    ]
    if not found and number is None and len(partitions) == 1:
        found = [*partitions]
    if len(found) != 1:
        wanted = "whose type is that of a root" if number is None else f"with the number {number}"
        raise BuildFailed(
            f"{name} has {len(found)} partitions {wanted}, and 1 is needed", hint="build it again"
        )
    return found[0]


def entries(said: bytes, name: str) -> dict[str, Entry]:
    """The files of a tree, by their paths. Raises BuildFailed where that is none."""
    try:
        found = {}
        for line in said.splitlines():
            path, *numbers = json.loads(line)
            if not isinstance(path, str) or not path.startswith("/"):
                raise ValueError
            inode, mode, uid, gid, size = map(int, numbers)
            found[path] = Entry(inode, mode, uid, gid, size)
        return found
    except (ValueError, TypeError):
        raise _nonsense(name) from None


def pieces(said: bytes, count: int, name: str) -> Iterator[bytes]:
    """``count`` contents, each behind its length. Raises BuildFailed where there are others."""
    at = 0
    for _ in range(count):
        length = int.from_bytes(said[at : at + 8], "big")
        at += 8
        if at > len(said) or length > len(said) - at:
            raise _nonsense(name)
        yield said[at : at + length]
        at += length
    if at != len(said):
        raise _nonsense(name)


def space(said: bytes, name: str) -> Space:
    """What is free. Raises BuildFailed where it can't be read."""
    try:
        found = json.loads(said)
        block, blocks, free, dirty = (int(found[key]) for key in ("block", "blocks", "free", "dirty"))
        return Space(block, blocks, free, dirty, str(found["state"]), tuple(map(str, found["features"])))
    except (ValueError, LookupError, TypeError):
        raise _nonsense(name) from None


def _nonsense(name: str) -> BuildFailed:
    return BuildFailed(
        f"{name}: what reads it gives no answer that can be used", hint="the disk may be meant to harm"
    )
