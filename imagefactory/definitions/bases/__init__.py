"""Base images: their files in, definitions out."""

from imagefactory.definitions.bases.load import (
    base_names,
    base_standing,
    container_bases,
    host_architecture,
    host_platform,
    load_base,
)

__all__ = [
    "base_names",
    "base_standing",
    "container_bases",
    "host_architecture",
    "host_platform",
    "load_base",
]
