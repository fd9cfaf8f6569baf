"""The steps that install packages, and what a build without the factory's store downloads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from imagefactory.inputs.kinds import KINDS
from imagefactory.model.lock import AptFile, CondaFile, LockedFile, PipFile, Stage
from imagefactory.model.recipe import channel_address
from imagefactory.model.spec import ImageSpec, UnpinnedSpec

STAGES: tuple[Stage, ...] = ("image", "build", "tools")


def install_steps(spec: ImageSpec | UnpinnedSpec) -> Iterator[tuple[str, str]]:
    """The name and the shell script of every step that installs packages."""
    for stage in STAGES:
        for name, kind in KINDS.items():
            if isinstance(spec, UnpinnedSpec):
                script = kind.install_unpinned(spec.image, stage)
            else:
                script = kind.install(getattr(getattr(spec.lock, stage), name), spec.image, stage)
            if script:
                yield f"{name}-{stage}", script


def downloads(spec: ImageSpec) -> dict[str, list[dict[str, Any]]]:
    """Every package file: where it comes from, and where it stands in the stage ``sources``.

    The base image's own are there too, for the published base image may hold other versions.
    """
    tables: dict[str, list[dict[str, Any]]] = {"apt": [], "pip": [], "conda": []}
    for stage, files in spec.lock.stages():
        for kind, file in files.files():
            if kind in tables:
                tables[kind].append(_entry(spec, kind, file, stage))
    for file in spec.base.lock.image.apt:
        tables["apt"].append({**_entry(spec, "apt", file, "image"), "in_base": True})
    return tables


def source_downloads(spec: ImageSpec | UnpinnedSpec) -> list[dict[str, Any]]:
    """Every archive and commit. A Dockerfile names them itself; other builds have no instruction for that."""
    entries: list[dict[str, Any]] = []
    for name, source in spec.image.sources.items():
        entry: dict[str, Any] = {"name": name, "path": f"sources/{name}"}
        if source.git:
            entries.append(entry | {"git": source.git, "commit": source.commit})
        else:
            entries.append(entry | {"urls": [source.url, *source.mirrors], "sha256": source.sha256})
    return entries


def _entry(spec: ImageSpec, kind: str, file: LockedFile, stage: str) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "name": file.name,
        "version": file.version,
        "sha256": file.sha256,
        "path": f"{stage}/{KINDS[kind].stage(file).path}",
    }
    match file:
        case AptFile():
            return entry | {"archive": file.archive, "file": file.file}
        case CondaFile():
            return entry | {"url": f"{channel_address(file.channel)}/{file.file}"}
        case PipFile() if file.index and spec.image.inputs.pip:
            return entry | {"index": spec.image.inputs.pip.indexes[file.index].url}
    return entry
