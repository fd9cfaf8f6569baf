"""What every image holds, whatever its kind: its environment, how commands start in it, and its labels."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from imagefactory.model.environment import uses_home
from imagefactory.model.spec import File, ImageSpec, UnpinnedSpec
from imagefactory.system.templates import fill, text_of
from imagefactory.targets.common.steps import downloads, install_steps, source_downloads

INPUT_DIGEST_LABEL = "io.imagefactory.input-digest"
ID_LABEL = "io.imagefactory.id"
COMMANDS_LABEL = "io.imagefactory.commands"
STAND_INS_LABEL = "io.imagefactory.stand-ins"


def scripts(spec: ImageSpec | UnpinnedSpec) -> tuple[str, ...]:
    """The names of the scripts in ``/etc/imagefactory``."""
    always = ("environment.sh", "home.sh", "entrypoint.sh", "welcome.sh")
    return (*always, "gpu.sh") if spec.image.needs.gpu else always


def content_files(spec: ImageSpec | UnpinnedSpec) -> list[File]:
    """The scripts of ``/etc/imagefactory``, those that install, and what installs: the recipe's own files."""
    image = spec.image
    values = {"image": image, "gpu": image.needs.gpu}
    files = [File(name, 0o644, fill(__package__, f"{name}.j2", values).encode()) for name in scripts(spec)]
    files.append(File("welcome.txt", 0o644, fill(__package__, "welcome.txt.j2", values).encode()))
    if image.folder.readme:
        files.append(File("README.md", 0o644, image.folder.readme.encode()))
    files += [File(f"steps/{name}.sh", 0o644, text.encode()) for name, text in install_steps(spec)]
    if isinstance(spec, ImageSpec) and has_packages(spec):
        files.append(File("download/inputs.json", 0o644, as_json(downloads(spec))))
    if sources := source_downloads(spec):
        files.append(File("download/sources.json", 0o644, as_json({"sources": sources})))
    if any(file.path.startswith("download/") for file in files):
        files.append(File("download/download.py", 0o644, text_of(__package__, "download.py").encode()))
    if image.values:
        files.append(File("values.sh", 0o644, fill(__package__, "values.sh.j2", values).encode()))
    if image.patterns:
        files.append(File("commands.sh", 0o644, fill(__package__, "commands.sh.j2", values).encode()))
    for stage in image.stages:
        files.append(File(f"parts/{stage.name}/install.sh", 0o644, stage.install))
        files += [File(f"parts/{stage.name}/files/{f.path}", f.mode, f.data) for f in stage.files]
    files.append(File("recipe/install.sh", 0o644, image.folder.install))
    return [*files, *(File(f"recipe/files/{f.path}", f.mode, f.data) for f in image.folder.files)]


def has_packages(spec: ImageSpec) -> bool:
    """Whether any package is installed on the base image."""
    return any(stage.apt or stage.pip or stage.conda for _, stage in spec.lock.stages())


def build_values(spec: ImageSpec | UnpinnedSpec) -> dict[str, Any]:
    """What templates of whole builds are filled with.

    ``pinned`` says whether packages are downloaded by a lock beforehand, or each of the ``steps`` chooses for
    itself.
    """
    image, sources = spec.image, spec.image.sources
    pinned = isinstance(spec, ImageSpec)
    packed = isinstance(spec, ImageSpec) and has_packages(spec)
    return {
        "image": image,
        "base": spec.base,
        "epoch": spec.epoch,
        "pinned": pinned,
        "steps": [name for name, _ in install_steps(spec)],
        "sources": sources,
        "downloads": packed,
        "inputs": bool(packed or sources),
        "conda_python": bool(image.inputs.pip and image.inputs.pip.python == "conda"),
        "gpu": image.needs.gpu,
        "scripts": scripts(spec),
        "environment": fixed_environment(spec),
    }


def fixed_environment(spec: ImageSpec | UnpinnedSpec) -> dict[str, str]:
    """The variables whose values are known before anybody runs the image: all that don't use HOME."""
    return {name: value for name, value in spec.image.environment.items() if not uses_home(value)}


def labels(spec: ImageSpec | UnpinnedSpec, input_digest: str | None) -> Mapping[str, str]:
    """https://github.com/opencontainers/image-spec/blob/main/annotations.md

    Of what is not pinned there is no ``input_digest``, so that no such image is taken for one of ours.
    """
    image = spec.image
    people = (f"{m.name} <{m.email}>" if m.email else m.name for m in image.maintainers)
    values = {
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
    oci = {f"org.opencontainers.image.{name}": value for name, value in values.items() if value}
    of_lock = {} if input_digest is None else {INPUT_DIGEST_LABEL: input_digest}
    ours = {ID_LABEL: image.id, **of_lock, COMMANDS_LABEL: " ".join(image.commands)}
    if isinstance(spec, ImageSpec) and spec.lock.stand_ins:
        ours[STAND_INS_LABEL] = ", ".join(spec.lock.stand_ins)
    return {**oci, **ours}


def as_json(tables: Mapping[str, Sequence[str]]) -> bytes:
    """Tables whose entries are JSON already as stable JSON, with a line for each entry: a new version is one
    changed line.
    """
    texts = []
    for name, entries in sorted(tables.items()):
        lines = ",\n".join(entries)
        texts.append(f"{json.dumps(name)}: [\n{lines}\n]")
    return ("{" + ",\n".join(texts) + "}\n").encode()
