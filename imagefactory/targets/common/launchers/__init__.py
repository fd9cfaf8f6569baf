"""Launchers and module files, so that a researcher types a command and never sees the container."""

from imagefactory.targets.common.launchers.write import Wrapped, write_wrappers

__all__ = ["Wrapped", "write_wrappers"]
