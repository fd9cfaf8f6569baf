"""The cores, memory and disk of this machine, and who has them now."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping

from imagefactory.errors import DiskFull
from imagefactory.model.target import Room, TargetId
from imagefactory.system.disks import by_disk, gib
from imagefactory.targets.register import shown

# Builds wait for disks and for each other's steps: so much more is started than there are cores for.
_OVERSUBSCRIBED = 2
_LEAST_CORES = 4


def cannot_fit(
    needs: Mapping[TargetId, Collection[TargetId]], rooms: Mapping[TargetId, Room]
) -> dict[TargetId, DiskFull]:
    """The failures of all that would not fit on the disk, each with what is made before it and stays there.

    ``rooms`` is what is to be made, in that order, and ``needs`` what each is made of. What can't be made
    takes nothing, and nor does what needs it.
    """
    found: dict[TargetId, DiskFull] = {}
    lost: set[TargetId] = set()
    before: dict[str, int] = {}
    for id, room in rooms.items():
        if not lost.isdisjoint(needs[id]):
            lost.add(id)
        elif error := _lack(shown(id), room, before):
            found[id] = error
            lost.add(id)
        else:
            before = _sum(before, room.stays)
    return found


def _lack(shown: str, room: Room, before: Mapping[str, int]) -> DiskFull | None:
    """The failure of what does not fit beside the bytes that were taken ``before``, by folder; None where it
    fits.
    """
    with_others = by_disk(_sum(room.disk, before))
    for place, (needed, free) in by_disk(room.disk).items():
        others = with_others[place][0] - needed
        if needed + others > free:
            alone = needed > free or others <= 0
            told = "" if alone else f", and {gib(others)} of them go to what is made before"
            return DiskFull(
                f"{shown} needs {gib(needed)} of disk below {place}, {gib(free)} are free{told}",
                hint="free some space there, then run the same command again",
            )
    return None


def _sum(first: Mapping[str, int], second: Mapping[str, int]) -> dict[str, int]:
    """Bytes by folder, those of the first before others: so a disk is called by the first one's folder."""
    return {folder: first.get(folder, 0) + second.get(folder, 0) for folder in (*first, *second)}


class Capacity:
    """What is taken, so that what starts next fits beside it. One thing at least always fits."""

    def __init__(self) -> None:
        self._cores = max(_LEAST_CORES, _OVERSUBSCRIBED * (os.cpu_count() or 1))
        self._memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        self._taken: dict[TargetId, Room] = {}

    def lacks(self, id: TargetId, room: Room) -> DiskFull | None:
        """The failure of what would not fit on the disk now, if nothing else ran; None where it fits."""
        given_back: dict[str, int] = {}
        for other in self._taken.values():
            given_back = _sum(given_back, {folder: -count for folder, count in other.disk.items()})
        return _lack(shown(id), room, given_back)

    def lacks_memory(self, memory: int) -> str:
        """What is to be said of something that needs more bytes of memory than there are; empty where it
        fits.
        """
        if memory <= self._memory:
            return ""
        there = gib(self._memory)
        return f"needs {gib(memory)} of memory, {there} there: it runs alone and may fail"

    def take(self, id: TargetId, room: Room) -> bool:
        """Take room for it; whether there was."""
        if self._taken and not self._fits(room):
            return False
        self._taken[id] = room
        return True

    def leave(self, id: TargetId) -> None:
        """Give its room back."""
        del self._taken[id]

    def _fits(self, room: Room) -> bool:
        others = self._taken.values()
        if sum(other.cores for other in others) + room.cores > self._cores:
            return False
        if sum(other.memory for other in others) + room.memory > self._memory:
            return False
        # What runs has used some of its share already, so this asks for more than it must.
        for place, (needed, free) in by_disk(room.disk).items():
            taken = sum(by_disk(other.disk).get(place, (0, 0))[0] for other in others)
            if needed + taken > free:
                return False
        return True
