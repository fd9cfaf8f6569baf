"""What images are made of: four kinds of input, each resolved, fetched and installed in its own way."""

from imagefactory.inputs.debian import default_sources, lock_base, mmdebstrap, mmdebstrap_version
from imagefactory.inputs.kinds import KINDS
from imagefactory.inputs.mirrors import fetch_any
from imagefactory.inputs.protocol import AskBase, Means, Origin, Staged, Wanted

__all__ = [
    "KINDS",
    "AskBase",
    "Means",
    "Origin",
    "Staged",
    "Wanted",
    "default_sources",
    "fetch_any",
    "lock_base",
    "mmdebstrap",
    "mmdebstrap_version",
]
