"""``base_images/<name>.yaml`` to a definition."""

from __future__ import annotations

import functools
import os
import platform

from imagefactory.errors import BadFiles
from imagefactory.model.recipe import BaseImage, is_vm_base
from imagefactory.model.spec import BaseDefinition
from imagefactory.system.fresh import Mark, mark_of
from imagefactory.system.history import standing
from imagefactory.system.workspace import Workspace
from imagefactory.yamlfiles import load

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
    """The base image of that name. Raises BadFiles with every defect of its file."""
    files = (workspace.bases / f"{name}.yaml", workspace.bases / f"{name}.lock.yaml")
    marks = tuple(mark_of(file) for file in files)
    return _load_base(workspace, name, marks, os.environ.get("SOURCE_DATE_EPOCH"))


@functools.lru_cache(maxsize=64)
def _load_base(
    workspace: Workspace, name: str, marks: tuple[Mark | None, ...], epoch: str | None
) -> BaseDefinition:
    file = workspace.bases / f"{name}.yaml"
    loaded = load(file, workspace.shown(file), BaseImage)
    if loaded.model.name != name:
        message = f"the name is '{loaded.model.name}', but the file is '{file.name}'"
        raise BadFiles([loaded.problem(("name",), message)])
    return BaseDefinition(
        loaded.model, host_platform(), standing(file.parent, file.name, f"{name}.lock.yaml").epoch
    )
