"""Base images: their files in, definitions out."""

from imagefactory.bases.load import base_names, host_platform, load_base

__all__ = ["base_names", "host_platform", "load_base"]
