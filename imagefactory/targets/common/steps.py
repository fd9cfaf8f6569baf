"""The steps that install packages, and what a build without the factory's store downloads."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from typing import Any

from imagefactory.inputs.kinds import KINDS
from imagefactory.model.lock import AptFile, CondaFile, Lock, LockedFile, PipFile, Stage
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


def downloads(spec: ImageSpec) -> dict[str, list[str]]:
    """Every package file, in JSON: where it comes from, and where it stands in the stage ``sources``.

    The base image's own are there too, for the published base image may hold other versions.
    """
    tables: dict[str, list[str]] = {"apt": [], "pip": [], "conda": []}
    for stage, files in spec.lock.stages():
        for kind, file in files.files():
            if kind in tables:
                tables[kind].append(_as_json(_entry(spec, kind, file, stage)))
    tables["apt"] += _of_base(spec.base.lock)
    return tables


def source_downloads(spec: ImageSpec | UnpinnedSpec) -> list[str]:
    """Every archive and commit, in JSON. A Dockerfile names them itself; other builds have no instruction for
    that.
    """
    entries: list[str] = []
    for name, source in spec.image.sources.items():
        entry: dict[str, Any] = {"name": name, "path": f"sources/{name}"}
        if source.git:
            entry |= {"git": source.git, "commit": source.commit}
        else:
            entry |= {"urls": [source.url, *source.mirrors], "sha256": source.sha256}
        entries.append(_as_json(entry))
    return entries


@functools.lru_cache(maxsize=16)  # many images are on one base image
def _of_base(lock: Lock) -> list[str]:
    return [
        _as_json({**_package("apt", file, "image"), **_of_apt(file), "in_base": True})
        for file in lock.image.apt
    ]


def _as_json(entry: dict[str, Any]) -> str:
    return json.dumps(entry, sort_keys=True)


def _entry(spec: ImageSpec, kind: str, file: LockedFile, stage: str) -> dict[str, Any]:
    entry = _package(kind, file, stage)
    match file:
        case AptFile():
            return entry | _of_apt(file)
        case CondaFile():
            return entry | {"url": f"{channel_address(file.channel)}/{file.file}"}
        case PipFile() if file.index and spec.image.inputs.pip:
            return entry | {"index": spec.image.inputs.pip.indexes[file.index].url}
    return entry


def _package(kind: str, file: LockedFile, stage: str) -> dict[str, Any]:
    return {
        "name": file.name,
        "version": file.version,
        "sha256": file.sha256,
        "path": f"{stage}/{KINDS[kind].stage(file).path}",
    }


def _of_apt(file: AptFile) -> dict[str, Any]:
    return {"archive": file.archive, "file": file.file}
