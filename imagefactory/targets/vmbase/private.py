"""Packages of a VM base that bring libraries of their own: what is staged of them, and how they get there."""

from __future__ import annotations

from pathlib import Path

from imagefactory.errors import BuildFailed
from imagefactory.inputs.machine import PATCHER
from imagefactory.inputs.protocol import Means
from imagefactory.model.recipe import Machine
from imagefactory.model.spec import BaseSpec
from imagefactory.targets.common.packages import stage_files
from imagefactory.targets.vmbase.system import PRIVATE, script

LAY_OUT = (
    'set -eu; mkdir "$1/run/private"; cp /in/private/*.deb /in/list /in/private.sh "$1/run/private"; '
    """chroot "$1" sh -c 'cd /run/private && exec sh -eu private.sh'; rm -r "$1/run/private\""""
)
"""What mmdebstrap runs where the others are installed, with the folder of the new system as its argument."""


def private_list(machine: Machine) -> str:
    """A line for each package, with those that its libraries come from. Pure."""
    programs = {name: libraries for of in machine.private.values() for name, libraries in of.items()}
    return "".join(f"{' '.join((name, *programs[name]))}\n" for name in sorted(programs))


def private_inputs(spec: BaseSpec, means: Means) -> dict[str, bytes | Path]:
    """Inputs of an errand that lays them out, from the store alone; none where there are no such packages.

    Raises BuildFailed, or a kind of it.
    """
    machine = spec.base.machine
    assert machine
    if not machine.private:
        return {}
    locked = {file.name: file for file in spec.lock.tools.apt}
    wanted = {*machine.private_releases, PATCHER}
    if lacks := sorted(wanted - locked.keys()):
        raise BuildFailed(
            f"{spec.name}: its lock lacks {', '.join(lacks)}",
            hint=f"run imagefactory lock --upgrade {spec.name}",
        )
    files = {f"{name}.deb": locked[name] for name in sorted(wanted)}
    return {
        "private": stage_files(spec, files, means.scratch / "private", means),
        "list": private_list(machine).encode(),
        PRIVATE: script(PRIVATE).encode(),
    }
