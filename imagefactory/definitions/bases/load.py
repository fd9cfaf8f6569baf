"""``base_images/<name>.yaml`` to a definition."""

from __future__ import annotations

import functools
import os
import platform

from imagefactory.errors import BadFiles, Problem
from imagefactory.model.recipe import BaseImage, is_vm_base
from imagefactory.model.spec import BaseDefinition
from imagefactory.system.fresh import Mark, mark_of
from imagefactory.system.history import NO_HISTORY, Standing, standing
from imagefactory.system.workspace import Workspace
from imagefactory.yamlfiles import Loaded, load

_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


def host_architecture() -> str:
    """The kind of this machine as OCI names it, such as ``amd64``."""
    machine = platform.machine()
    return _MACHINES.get(machine, machine)


def host_platform() -> str:
    """The platform of this machine as OCI names it, such as ``linux/amd64``."""
    return f"linux/{host_architecture()}"


def base_names(workspace: Workspace) -> list[str]:
    """The names of all base images, VM bases among them, sorted."""
    return sorted(file.stem for file in workspace.bases.glob("*.yaml") if not file.stem.endswith(".lock"))


def container_bases(workspace: Workspace) -> list[str]:
    """Those of base images of containers, on which images are built."""
    return [name for name in base_names(workspace) if not is_vm_base(name)]


def load_base(workspace: Workspace, name: str) -> BaseDefinition:
    """The base image of that name, as if all of it stood in its file. Raises BadFiles with every defect."""
    return _whole(workspace, name, ())


def base_standing(workspace: Workspace, name: str) -> Standing:
    """The last commit to its lock: what is in a base image is there, and a VM base that its file names is
    nothing in it. Where no lock was committed, the last one to its file.
    """
    locked = standing(workspace.bases, f"{name}.lock.yaml")
    return locked if locked.revision != NO_HISTORY else standing(workspace.bases, f"{name}.yaml")


def _whole(workspace: Workspace, name: str, below: tuple[str, ...]) -> BaseDefinition:
    """It, for those ``below`` that are like it."""
    files = (workspace.bases / f"{name}.yaml", workspace.bases / f"{name}.lock.yaml")
    marks = tuple(mark_of(file) for file in files)
    loaded, epoch = _load_base(workspace, name, marks, os.environ.get("SOURCE_DATE_EPOCH"))
    base, like = loaded.model, loaded.model.like
    if like:
        if like in (*below, name):
            raise BadFiles([loaded.problem(("like",), f"{like} is like {name} itself")])
        if not (workspace.bases / f"{like}.yaml").exists():
            known = [each for each in base_names(workspace) if is_vm_base(each) and each != name]
            there = f"there is: {', '.join(known) or 'none'}"
            raise BadFiles([loaded.problem(("like",), f"no VM base '{like}', {there}")])
        liked = _whole(workspace, like, (*below, name)).base
        try:
            base = base.whole(liked)
        except ValueError as error:
            raise BadFiles([loaded.problem(("like",), str(error))]) from None
    return BaseDefinition(base, host_platform(), epoch)


@functools.lru_cache(maxsize=64)
def _load_base(
    workspace: Workspace, name: str, marks: tuple[Mark | None, ...], epoch: str | None
) -> tuple[Loaded[BaseImage], int]:
    file = workspace.bases / f"{name}.yaml"
    if is_vm_base(name) and not file.exists():
        raise BadFiles(
            [Problem(workspace.shown(file), 0, 0, "is missing, and a base image names it as 'vm'")]
        )
    loaded = load(file, workspace.shown(file), BaseImage)
    if loaded.model.name != name:
        message = f"the name is '{loaded.model.name}', but the file is '{file.name}'"
        raise BadFiles([loaded.problem(("name",), message)])
    return loaded, base_standing(workspace, name).epoch
