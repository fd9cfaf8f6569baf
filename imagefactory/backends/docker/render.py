"""An image spec to the files of its build. Pure: the same spec gives the same bytes."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any

import jinja2

from imagefactory.backends.docker.steps import downloads, install_steps
from imagefactory.model.environment import shell_word, uses_home
from imagefactory.model.spec import BuildContext, File, ImageSpec

RENDERER = 2
"""Raised when the same Dockerfile would be built in another way."""

INPUT_DIGEST_LABEL = "io.imagefactory.input-digest"
ID_LABEL = "io.imagefactory.id"
STAND_INS_LABEL = "io.imagefactory.stand-ins"


def quoted(value: str) -> str:
    """``value`` as one double-quoted Dockerfile word, with nothing left to expand."""
    return '"' + re.sub(r'([\\"$])', r"\\\1", value) + '"'


def _template(name: str) -> str:
    return (files(__package__) / "templates" / name).read_text(encoding="utf-8")


_templates = jinja2.Environment(
    loader=jinja2.FunctionLoader(_template),
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
    autoescape=False,  # noqa: S701  # not HTML: `quoted` and `shell` escape
)
_templates.filters.update(quoted=quoted, shell=shell_word)


def render(spec: ImageSpec) -> BuildContext:
    """The files of the build, the digest of all inputs, and what that digest was made from."""
    draft = _files(spec, input_digest="")
    ingredients = _ingredients(spec, draft)
    digest = _sha256(json.dumps(ingredients, sort_keys=True, ensure_ascii=False).encode())
    return BuildContext(_files(spec, digest), digest, ingredients)


def _files(spec: ImageSpec, input_digest: str) -> tuple[File, ...]:
    image = spec.image
    names = ("Dockerfile", "environment.sh", "entrypoint.sh", *(("gpu.sh",) * bool(image.needs.gpu)))
    values = _values(spec, input_digest)
    texts = {name: _templates.get_template(f"{name}.j2").render(values) for name in names}
    # One blank line at most between parts, whatever blocks the template left out.
    rendered = [File(name, 0o644, re.sub(r"\n{3,}", "\n\n", text).encode()) for name, text in texts.items()]
    steps = [File(f"steps/{name}.sh", 0o644, text.encode()) for name, text in install_steps(spec)]
    if values["downloads"]:
        steps.append(File("download/inputs.json", 0o644, _json(downloads(spec))))
        steps.append(File("download/download.py", 0o644, _template("download.py").encode()))
    recipe = [File("recipe/install.sh", 0o644, image.folder.install)]
    recipe += [File(f"recipe/files/{f.path}", f.mode, f.data) for f in image.folder.files]
    return (*rendered, *steps, *recipe)


def _json(value: Any) -> bytes:
    return json.dumps(value, indent=1, sort_keys=True).encode() + b"\n"


def _values(spec: ImageSpec, input_digest: str) -> dict[str, Any]:
    image, build, lock = spec.image, spec.image.build, spec.lock
    sources = {**image.inputs.sources, **(build.inputs.sources if build else {})}
    packages = any(stage.apt or stage.pip or stage.conda for _, stage in lock.stages())
    return {
        "image": image,
        "base": spec.base,
        "epoch": spec.epoch,
        "lock": lock,
        "sources": sources,
        "downloads": packages,
        "inputs": bool(packages or sources),
        "gpu": image.needs.gpu,
        # HOME is known only at run time, so those that use it are set by the entry point.
        "environment": {k: v for k, v in image.environment.items() if not uses_home(v)},
        "labels": _labels(spec, input_digest),
    }


def _labels(spec: ImageSpec, input_digest: str) -> Mapping[str, str]:
    """https://github.com/opencontainers/image-spec/blob/main/annotations.md"""
    image = spec.image
    people = (f"{m.name} <{m.email}>" if m.email else m.name for m in image.maintainers)
    labels = {
        "title": image.title,
        "description": image.summary,
        "version": image.version,
        "licenses": image.licence,
        "authors": ", ".join(people),
        "url": image.homepage,
        "source": spec.source,
        "revision": image.folder.revision,
        "created": datetime.fromtimestamp(spec.epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    oci = {f"org.opencontainers.image.{name}": value for name, value in labels.items() if value}
    ours = {ID_LABEL: image.id, INPUT_DIGEST_LABEL: input_digest}
    if spec.lock.stand_ins:
        ours[STAND_INS_LABEL] = ", ".join(spec.lock.stand_ins)
    return {**oci, **ours}


def _ingredients(spec: ImageSpec, rendered: tuple[File, ...]) -> dict[str, Any]:
    image = spec.image
    ours = {
        "title": image.title,
        "version": image.version,
        "licence": image.licence,
        **_packages(spec),
        "inputs": _sha256(_json([[name, stage.model_dump()] for name, stage in spec.lock.stages()])),
        "environment": dict(image.environment),
        "path": list(image.path),
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
