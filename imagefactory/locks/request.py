"""What a lock answers: the digest of everything that was asked for."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from imagefactory.model.lock import Lock
from imagefactory.model.spec import BaseDefinition, ImageDefinition
from imagefactory.site import Site

LOCKER = 1
"""Raised when the same request would be resolved in another way."""


def image_request(image: ImageDefinition, base: BaseDefinition, base_lock: Lock, site: Site) -> str:
    """sha256 over an image's inputs, what its base image holds, and the stand-ins in force."""
    build = image.build.inputs.model_dump(mode="json") if image.build else None
    return _digest(
        image.inputs.model_dump(mode="json"), build, base.platform, base_lock.digest, site.rehearsal()
    )


def base_request(base: BaseDefinition, site: Site) -> str:
    """sha256 over what decides which packages a base image is made of."""
    wanted = base.base.model_dump(mode="json", include={"distribution", "suite", "packages"})
    return _digest(wanted, base.platform, site.rehearsal())


def _digest(*facts: Any) -> str:
    return hashlib.sha256(json.dumps([LOCKER, *facts], sort_keys=True).encode()).hexdigest()
