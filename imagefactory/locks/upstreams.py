"""What must be reached to lock an image, beside the distribution's archives and the usual Python index."""

from __future__ import annotations

from imagefactory.model.spec import ImageDefinition


def upstreams(image: ImageDefinition) -> tuple[str, ...]:
    """Each in a few words. Sources are none of them: the recipe pins those."""
    pip, conda = image.inputs.pip, image.inputs.conda
    indexes = (f"index {_bare(index.url)}" for index in (pip.indexes.values() if pip else ()))
    channels = (f"channel {_bare(channel)}" for channel in (conda.channels if conda else ()))
    return tuple(dict.fromkeys([*indexes, *channels]))


def _bare(address: str) -> str:
    return address.partition("://")[2].rstrip("/") or address
