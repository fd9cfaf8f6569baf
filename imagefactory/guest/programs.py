"""The programs that this room owns: whether they are here, and their versions."""

from __future__ import annotations

import functools
import re
from pathlib import Path

from imagefactory.errors import EngineError
from imagefactory.system.processes import run, which
from imagefactory.system.versions import numbers

QEMU = "qemu-system-x86_64"
QEMU_WANTED = (7, 1)
"""From then on it writes screens as PNG files (https://wiki.qemu.org/ChangeLog/7.1, "QMP")."""
SET_UP = (
    "run ci/setup vm, or install the packages qemu-system-x86 qemu-utils ovmf xorriso fdisk openssh-client"
)

_VERSION = re.compile(r"\d+(?:\.\w+)+")
_ASKED = {
    "qemu": (QEMU, "--version"),
    "qemu-img": ("qemu-img", "--version"),
    "xorriso": ("xorriso", "--version"),
    "openssh": ("ssh", "-V"),
    "e2fsprogs": ("debugfs", "-V"),
    "sfdisk": ("sfdisk", "--version"),
}


def program(name: str) -> str:
    """The full path of a program, also of one that only root usually has in its path. Raises EngineError
    where it is missing.
    """
    for found in (which(name), f"/usr/sbin/{name}", f"/sbin/{name}"):
        if found and Path(found).exists():
            return found
    raise EngineError(f"{name}, which virtual machines and their disks need, is not installed", hint=SET_UP)


@functools.cache
def check_qemu() -> None:
    """Raises EngineError where QEMU is missing or too old."""
    said = _first_words(QEMU, "--version")
    if numbers(said) < QEMU_WANTED:
        wanted = ".".join(map(str, QEMU_WANTED))
        raise EngineError(
            f"{QEMU} is {said or 'of no version'}, and {wanted} or newer is needed", hint=SET_UP
        )


def engine_versions() -> dict[str, str]:
    """The versions of all programs that take part in a machine's test, for reports. Raises EngineError where
    one is missing.
    """
    return {name: _first_words(*words) for name, words in _ASKED.items()}


def _first_words(name: str, flag: str) -> str:
    done = run([program(name), flag])
    found = _VERSION.search(done.stdout + done.stderr)
    return found[0] if found else ""
