"""An image spec to the files of its build. Pure: the same spec gives the same bytes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

from imagefactory.backends.common.content import build_values, content_files, labels
from imagefactory.model.spec import BuildContext, File, ImageSpec
from imagefactory.templates import fill

RENDERER = 4
"""Raised when the same Dockerfile would be built in another way."""


def render(spec: ImageSpec) -> BuildContext:
    """The files of the build, the digest of all inputs, and what that digest was made from."""
    contents = content_files(spec)
    ingredients = _ingredients(spec, [_dockerfile(spec, input_digest=""), *contents])
    digest = _sha256(json.dumps(ingredients, sort_keys=True, ensure_ascii=False).encode())
    return BuildContext((_dockerfile(spec, digest), *contents), digest, ingredients)


def _dockerfile(spec: ImageSpec, input_digest: str) -> File:
    values = {**build_values(spec), "labels": labels(spec, input_digest)}
    return File("Dockerfile", 0o644, fill(__package__, "Dockerfile.j2", values).encode())


def _ingredients(spec: ImageSpec, rendered: Iterable[File]) -> dict[str, Any]:
    image = spec.image
    ours = {
        "title": image.title,
        "version": image.version,
        "licence": image.licence,
        **_packages(spec),
        "inputs": spec.lock.content_digest,
        "environment": dict(image.environment),
        "path": list(image.path),
        "commands": list(image.commands),
        f"base image {spec.base.name}": spec.base.digest,
        "platform": spec.platform,
        "revision": image.folder.revision,
        "date": spec.epoch,
        "renderer": RENDERER,
    }
    contents = {file.path.removeprefix("recipe/"): _fingerprint(file) for file in rendered}
    return {**ours, **contents}


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
