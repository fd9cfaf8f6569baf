"""The version of an image: what its recipe states, held against what its lock says."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from imagefactory.model.lock import Lock
from imagefactory.model.recipe import DEFAULT_VARIANT, VersionFrom, conda_name, pip_name
from imagefactory.model.spec import ImageDefinition
from imagefactory.system.versions import comparable, upstream, without_epoch

_PINNED = r"([^=<>!~;,@ ]+?)(?:\[.*\])? ?== ?([A-Za-z0-9.+!_-]+)"


def locked_version(source: VersionFrom, lock: Lock, base: Lock) -> str:
    """What an image's lock, or its base image's, says of the input that a version comes from; empty where
    neither has it.
    """
    version = _version_in(source.kind, source.name, lock, base)
    return upstream(version) if source.kind == "apt" else without_epoch(version)


def asked_version(image: ImageDefinition) -> str:
    """The version that a recipe asks for where it pins one exactly, such as ``deeplabcut==3.0.2``; empty
    where only a lock can say.
    """
    source, inputs = image.version_from, image.inputs
    packages: Mapping[str, tuple[str, ...]] = {
        "pip": inputs.pip.packages if inputs.pip else (),
        "conda": inputs.conda.packages if inputs.conda else (),
    }
    if source is None:
        return image.version
    pins = (re.fullmatch(_PINNED, entry) for entry in packages.get(source.kind, ()))
    named = {"pip": pip_name, "conda": conda_name}
    found = [pin[2] for pin in pins if pin and named[source.kind](pin[1]) == source.name]
    return found[0] if found else ""


def disagreement(image: ImageDefinition, lock: Lock, base: Lock) -> str:
    """Why a typed version can't be that of what is locked, in words; empty where it can.

    Inputs that are called as the recipe are the application itself.
    """
    found = [(each, _version_in(each.kind, each.name, lock, base)) for each in own_inputs(image)]
    found = [(each, version) for each, version in found if version]
    if not found or any(_agree(image.version, each, version) for each, version in found):
        return ""
    source, version = found[0]
    return (
        f"the version is '{image.version}', but {source.name} is locked in version {version}: "
        f"write version: {{from: {source.input}}}"
    )


def is_latest(image: ImageDefinition, others: Mapping[str, str]) -> bool:
    """Whether an image's name means it where no version is given, among the versions of the ``others`` of
    that name: the variant ``default`` if there is one, or else the highest version.
    """
    default = [other.id for other in image.siblings if other.variant == DEFAULT_VARIANT]
    if image.variant == DEFAULT_VARIANT or default:
        return not default
    mine = (comparable(image.version), image.id)
    return all((comparable(version), id) < mine for id, version in others.items() if version)


def depends_on_lock(image: ImageDefinition) -> bool:
    """Whether what the recipe states of its version is to be held against locks."""
    return bool(image.version_from or image.siblings or any(own_inputs(image)))


def own_inputs(image: ImageDefinition) -> Iterator[VersionFrom]:
    """The inputs that are called as the recipe."""
    for kind, names in image.inputs.names().items():
        if image.recipe in names:
            yield VersionFrom.model_validate({"from": f"{kind}:{image.recipe}"})


def _version_in(kind: str, name: str, lock: Lock, base: Lock) -> str:
    for file in getattr(lock.image, kind):
        if file.name == name:
            return str(file.version)
    # What the base image has is not installed again.
    return base.system_packages.get(name, "") if kind == "apt" else ""


def _agree(typed: str, source: VersionFrom, locked: str) -> bool:
    plain = without_epoch(locked)
    if source.kind == "apt":
        return typed in (locked, plain, plain.rpartition("-")[0], upstream(locked))
    return comparable(typed) in (comparable(plain), comparable(plain.partition("+")[0]))
