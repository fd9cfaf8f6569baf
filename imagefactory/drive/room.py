"""The cores, memory and disk of this machine, and who has them now."""

from __future__ import annotations

import os

from imagefactory.errors import DiskFull
from imagefactory.model.target import Room, TargetId
from imagefactory.system.disks import by_disk, gib

# Builds wait for disks and for each other's steps: so much more is started than there are cores for.
_OVERSUBSCRIBED = 2
_LEAST_CORES = 4


class Capacity:
    """What is taken, so that what starts next fits beside it. One thing at least always fits."""

    def __init__(self) -> None:
        self._cores = max(_LEAST_CORES, _OVERSUBSCRIBED * (os.cpu_count() or 1))
        self._memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        self._taken: dict[TargetId, Room] = {}

    def lacks(self, shown: str, room: Room) -> DiskFull | None:
        """The failure of what would not fit on the disk if nothing else ran; None where it fits."""
        for place, (needed, free) in by_disk(room.disk).items():
            free += sum(by_disk(other.disk).get(place, (0, 0))[0] for other in self._taken.values())
            if needed > free:
                return DiskFull(
                    f"{shown} needs {gib(needed)} of disk below {place}, {gib(free)} are free",
                    hint="free some space there, then run the same command again",
                )
        return None

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
