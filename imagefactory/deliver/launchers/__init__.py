"""Launchers and module files, so that a researcher types a command and never sees the container."""

from imagefactory.deliver.launchers.wrap import wrap
from imagefactory.deliver.launchers.write import Wrapped

__all__ = ["Wrapped", "wrap"]
