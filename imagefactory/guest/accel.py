"""Which accelerator machines get here. A /dev/kvm that opens does not tell: under some hypervisors guests
hang in it, so that a guest has to boot under it first.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from imagefactory.errors import BuildFailed, EngineError
from imagefactory.guest.boot import boot
from imagefactory.guest.confine import KVM
from imagefactory.guest.options import BootOptions
from imagefactory.guest.programs import engine_versions
from imagefactory.system.files import write_file
from imagefactory.system.processes import Stop

PROBE_SECONDS = 10.0
_FIRST_LINE = r"^\[\s*0\.0+\] Linux version "
_MEMORY = 512 << 20
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_MOST_BYTES = 1 << 12


@dataclass(frozen=True, slots=True)
class Accelerator:
    """It is ``kvm``, or ``tcg``, which emulates and is many times slower; ``why`` is in words for people."""

    name: Literal["tcg", "kvm"]
    why: str


def accelerator(disk: Path, keep: Path, scratch: Path, stop: Stop) -> Accelerator:
    """KVM where a guest prints its kernel's first line under it in PROBE_SECONDS, else TCG. ``disk`` is one
    whose kernel prints on the serial line. The answer is kept in the folder ``keep`` until this machine is
    started anew, or QEMU is another.

    Raises EngineError where QEMU is missing, and Interrupted on a stop.
    """
    if not KVM.exists():
        return Accelerator("tcg", f"there is no {KVM}")
    if not os.access(KVM, os.R_OK | os.W_OK):
        return Accelerator("tcg", f"{KVM} is not open to this user")
    here = {"boot": _boot_id(), "qemu": engine_versions()["qemu"], "user": os.geteuid()}
    file = keep / "accelerator.json"
    if known := _known(file, here):
        return known
    found = _probe(disk, scratch, stop)
    write_file(file, json.dumps({**here, "name": found.name, "why": found.why}).encode())
    return found


def _probe(disk: Path, scratch: Path, stop: Stop) -> Accelerator:
    options = BootOptions(seed=None, memory=_MEMORY, cores=1, network="none")
    try:
        with boot(disk, replace(options, accelerator="kvm"), scratch, stop) as guest:
            seconds = guest.wait_for_console(_FIRST_LINE, PROBE_SECONDS)
    except (EngineError, BuildFailed) as error:
        return Accelerator("tcg", f"no guest comes up under KVM here: {error.message}")
    return Accelerator("kvm", f"a guest's kernel printed its first line after {seconds:.1f} s")


def _known(file: Path, here: dict[str, object]) -> Accelerator | None:
    try:
        with file.open("rb") as kept:
            said = json.loads(kept.read(_MOST_BYTES))
    except (OSError, ValueError):
        return None
    if not isinstance(said, dict) or {name: said.get(name) for name in here} != here:
        return None
    name, why = said.get("name"), said.get("why")
    if name == "kvm":
        return Accelerator("kvm", str(why))
    return Accelerator("tcg", str(why)) if name == "tcg" else None


def _boot_id() -> str:
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""
