"""An image spec to the files of its build. Pure: the same spec gives the same bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

from imagefactory.model.spec import File, ImageSpec, UnpinnedSpec
from imagefactory.model.target import Description, Target
from imagefactory.system.templates import fill
from imagefactory.targets.common.content import build_values, content_files, labels

RENDERER = 4
"""Raised when the same Dockerfile would be built in another way."""


def describe(spec: ImageSpec) -> Description:
    """What decides the image, and the rendered files beside the Dockerfile."""
    contents = content_files(spec)
    return Description(_ingredients(spec, [_dockerfile(spec, input_digest=""), *contents]), tuple(contents))


def render(target: Target) -> tuple[File, ...]:
    """The files of the build."""
    assert isinstance(target.spec, ImageSpec)
    return (_dockerfile(target.spec, target.input_digest), *target.contents)


def render_unpinned(spec: UnpinnedSpec) -> tuple[File, ...]:
    """The files of a build outside the factory, which takes whatever upstreams have then."""
    return (_dockerfile(spec, None), *content_files(spec))


def _dockerfile(spec: ImageSpec | UnpinnedSpec, input_digest: str | None) -> File:
    values = {**build_values(spec), "labels": labels(spec, input_digest)}
    return File("Dockerfile", 0o644, fill(__package__, "Dockerfile.j2", values).encode())


def _ingredients(spec: ImageSpec, rendered: Iterable[File]) -> dict[str, Any]:
    image = spec.image
    ours = {
        "title": image.title,
        "version": image.version,
        # Another name is given when an image is made.
        **({"image": image.repository} if image.repository != image.id else {}),
        "licence": image.licence,
        **_packages(spec),
        "inputs": spec.lock.content_digest,
        "environment": dict(image.environment),
        "path": list(image.path),
        "commands": list(image.commands),
        "platform": spec.platform,
        "revision": image.folder.revision,
        "date": spec.epoch,
        "renderer": RENDERER,
    }
    return {**ours, **{_named(file): _fingerprint(file) for file in rendered}}


def _named(file: File) -> str:
    """What a person wrote, by its name in the recipe's folder, and what the factory did."""
    own = file.path.removeprefix("recipe/")
    written = own != file.path or own.startswith("parts/")
    return f"file {own}" if written else f"rendered {own}"


def _packages(spec: ImageSpec) -> dict[str, dict[str, str]]:
    """By kind, the version of every package, for people to read what changed."""
    lock = spec.lock
    return {
        "apt packages": {file.name: file.version for file in lock.image.apt},
        "build-only apt packages": {file.name: file.version for file in lock.build.apt},
        "pip packages": {file.name: file.version for file in lock.image.pip},
        "conda packages": {file.name: f"{file.version} {file.build}" for file in lock.image.conda},
        "sources": {
            file.name: file.commit or file.sha256 for _, stage in lock.stages() for file in stage.sources
        },
    }


def _fingerprint(file: File) -> str:
    return f"{file.mode:o} {_sha256(file.data)}"


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
