"""What a machine is like that a disk is booted in."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from imagefactory.errors import BadInput
from imagefactory.guest.seed import Seed

GIB = 1 << 30
_USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
_SERIAL = re.compile(r"[A-Za-z0-9-]{0,20}")


@dataclass(frozen=True, slots=True)
class Volume:
    """A disk of data: the raw file ``path``, to which the machine writes. ``serial`` is what the machine is
    told of it, at most 20 letters: clouds give the beginning of a volume's UUID.
    """

    path: Path
    serial: str = ""

    def __post_init__(self) -> None:
        """Raises BadInput where the serial is none."""
        if not _SERIAL.fullmatch(self.serial):
            raise BadInput(f"{self.serial[:40]!r} is no disk's serial", hint="it has 20 letters at most")


@dataclass(frozen=True, slots=True)
class BootOptions:
    """``memory`` and ``grow_to`` are in bytes; a disk is grown to ``grow_to`` before it boots.

    ``seed`` is what a cloud tells the machine; without one nobody can log in. ``user`` is who logs in, whom
    the image makes. ``network`` is "none" (no network card), "ssh" (the machine reaches nothing, and we reach
    its port 22) or "outside" (it reaches what this machine reaches). ``disks`` are more disks, raw and
    read-only; ``volumes`` are written to. With a ``screen`` there is a graphics card, whose picture can be
    taken.
    """

    seed: Seed | None = field(default_factory=Seed)
    firmware: Literal["bios", "uefi"] = "bios"
    memory: int = GIB
    cores: int = 2
    grow_to: int | None = None
    network: Literal["none", "ssh", "outside"] = "ssh"
    disks: tuple[Path, ...] = ()
    volumes: tuple[Volume, ...] = ()
    screen: bool = False
    accelerator: Literal["tcg", "kvm"] = "tcg"
    user: str = "debian"

    def __post_init__(self) -> None:
        """Raises BadInput where no machine can be like that."""
        check_user(self.user)
        if self.cores < 1 or self.memory < 64 << 20:
            raise BadInput(f"a machine needs a core and 64 MiB, not {self.cores} and {self.memory >> 20} MiB")


def check_user(name: str) -> str:
    """``name``, which is one that Linux users have. Raises BadInput where it is not."""
    if not _USER.fullmatch(name):
        raise BadInput(f"{name[:40]!r} is no user's name", hint="one has small letters, digits, - and _")
    return name
