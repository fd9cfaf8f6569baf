"""What a lock answers: the digest of everything that was asked for."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from imagefactory.model.lock import Lock
from imagefactory.model.recipe import BuildInputs, Inputs, channel_address
from imagefactory.model.spec import BaseDefinition, ImageDefinition
from imagefactory.system.site import Site

LOCKER = 1
"""Raised when the same request would be resolved in another way."""
_MIRRORS = {"sources": {"__all__": {"mirrors"}}}  # where the same file is, too


def image_request(image: ImageDefinition, base: BaseDefinition, base_lock: Lock, site: Site) -> str:
    """sha256 over an image's inputs, what its base image holds, and the stand-ins in force."""
    build = _wishes(image.build_inputs) if image.build_inputs else None
    inputs = _wishes(image.inputs)
    return _digest(inputs, build, base.platform, base_lock.digest, site.rehearsal(_addresses(image)))


def base_request(base: BaseDefinition) -> str:
    """sha256 over what decides what a base image is made of."""
    decide = {"upstream"} if base.upstream else {"distribution", "suite", "packages"}
    wanted = base.base.model_dump(mode="json", include=decide)
    if disk := base.base.disk:
        return _digest(disk.model_dump(mode="json"), base.platform)
    if base.machine:
        if base.base.components:
            wanted["components"] = list(base.base.components)
        wanted["newer"] = {suite: list(names) for suite, names in base.machine.newer.items()}
        if private := base.machine.private_releases:
            wanted["private"] = private
    return _digest(wanted, base.platform)


def _wishes(inputs: BuildInputs) -> dict[str, Any]:
    """What is asked for, whatever the order in which packages are named."""
    plain = inputs.model_dump(mode="json", exclude=_MIRRORS)
    if isinstance(inputs, Inputs) and inputs.pip:
        plain["pip"] = inputs.pip.model_dump(mode="json", exclude=inputs.pip.unsaid("python"))
    return {**plain, "apt": sorted(plain["apt"])}


def _addresses(image: ImageDefinition) -> list[str]:
    """Every upstream that the image's inputs name."""
    inputs = image.inputs
    addresses = [source.address for source in image.sources.values()]
    addresses += [channel_address(channel) for channel in (inputs.conda.channels if inputs.conda else ())]
    return addresses + [
        index.url.rstrip("/") for index in (inputs.pip.indexes.values() if inputs.pip else ())
    ]


def _digest(*facts: Any) -> str:
    return hashlib.sha256(json.dumps([LOCKER, *facts], sort_keys=True).encode()).hexdigest()
