"""imagefactory: one recipe per scientific application, tested images of it."""

from importlib.metadata import version

__version__ = version("imagefactory")
