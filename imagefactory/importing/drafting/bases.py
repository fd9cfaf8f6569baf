"""Which base image is of the release that a foreign image is of."""

from __future__ import annotations

import re
from collections.abc import Iterable

from imagefactory.importing.fits import slug

_RELEASES = {"bullseye": "11", "bookworm": "12", "trixie": "13", "jammy": "22.04", "noble": "24.04"}


def base_of(image: str, bases: Iterable[str]) -> str:
    """The base image called ``debian-12`` for ``debian:bookworm-slim``; nothing where there is none."""
    plain = re.sub(r"^(docker\.io/)?(library/)?", "", image).partition("@")[0].removesuffix("-slim")
    name, _, tag = plain.partition(":")
    for suite, number in _RELEASES.items():
        tag = number if re.match(rf"{suite}(-|$)", tag) else tag
    return next((base for base in bases if tag and slug(base) == slug(f"{name}-{tag}")), "")
