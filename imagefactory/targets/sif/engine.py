"""Apptainer or SingularityCE, whichever is here, and the tools that write their files."""

from __future__ import annotations

import re
from pathlib import Path

from imagefactory.errors import EngineError
from imagefactory.system.processes import run, which
from imagefactory.system.versions import numbers

PROGRAMS = ("apptainer", "singularity")
MINIMUM = {"apptainer": (1, 2), "singularity": (4, 0)}
_SET_UP = "run ci/setup, which installs it, or build for Docker alone with --format oci"


def runtime() -> str:
    """The name of the program. Raises EngineError where there is none."""
    for program in PROGRAMS:
        if which(program):
            return program
    raise EngineError("neither apptainer nor singularity is installed", hint=_SET_UP)


def runtime_path() -> Path:
    """Where the program itself is, links followed, for a test's namespaces may cover the link.

    Raises EngineError where there is none.
    """
    place = which(runtime())
    assert place
    return Path(place).resolve()


def versions() -> dict[str, str]:
    """Versions of what runs SIF files and of what writes them. Raises EngineError where they can't serve."""
    program = runtime()
    said = run([program, "--version"]).stdout.split() or [""]
    # Apptainer's link of that name says that it is Apptainer.
    minimum = MINIMUM["singularity" if said[0].startswith("singularity") else "apptainer"]
    if numbers(said[-1]) < minimum:
        wanted = ".".join(map(str, minimum))
        raise EngineError(f"{program} {said[-1]} is too old: {wanted} or newer is needed", hint=_SET_UP)
    for tool in ("mksquashfs", "unshare", "setpriv", "ip", "hostname"):
        if which(tool) is None:
            raise EngineError(f"{tool} is not installed", hint="run ci/setup")
    match = re.search(r"version (\S+)", run(["mksquashfs", "-version"]).stdout)
    squashfs = match[1] if match else "0"
    if numbers(squashfs) < (4, 5):
        raise EngineError(f"mksquashfs {squashfs} is too old: 4.5 or newer is needed", hint="run ci/setup")
    return {program: said[-1], "mksquashfs": squashfs}


def nvidia() -> bool:
    """Whether this machine has a GPU of NVIDIA's that answers."""
    return which("nvidia-smi") is not None and run(["nvidia-smi", "--list-gpus"]).status == 0
