"""What must be reached to lock an image, beside the distribution's archives and the usual Python index."""

from __future__ import annotations

from imagefactory.model.recipe import BaseImage
from imagefactory.model.spec import ImageDefinition


def upstreams(image: ImageDefinition, base: BaseImage | None = None) -> tuple[str, ...]:
    """Each in a few words, with those of its ``base`` where that is to be locked too.

    Sources are none of them: the recipe pins those.
    """
    pip, conda = image.inputs.pip, image.inputs.conda
    registry = [f"registry {base.upstream.partition('/')[0]}"] if base and base.upstream else []
    indexes = (f"index {_bare(index.url)}" for index in (pip.indexes.values() if pip else ()))
    channels = (f"channel {_bare(channel)}" for channel in (conda.channels if conda else ()))
    return tuple(dict.fromkeys([*registry, *indexes, *channels]))


def _bare(address: str) -> str:
    return address.partition("://")[2].rstrip("/") or address
