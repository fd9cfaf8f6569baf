"""The UEFI firmware of virtual machines: OVMF, from where distributions put it."""

from __future__ import annotations

from pathlib import Path

from imagefactory.errors import EngineError
from imagefactory.guest.programs import SET_UP

_PLACES = (
    ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),  # Debian, Ubuntu
    ("/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"),  # before 2022
    ("/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"),  # Fedora, EL
    ("/usr/share/edk2/x64/OVMF_CODE.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.4m.fd"),  # Arch
)


def uefi() -> tuple[Path, Path]:
    """The firmware's code, and the variables that a new machine starts with. Raises EngineError where there
    is none.
    """
    for code, variables in _PLACES:
        if Path(code).is_file() and Path(variables).is_file():
            return Path(code), Path(variables)
    raise EngineError("UEFI firmware for virtual machines (OVMF) is not installed", hint=SET_UP)
