"""Launch kits: files with which somebody starts a server on an OpenStack cloud, from an image of ours."""

from imagefactory.deliver.kits.kit import TOOLS, Wishes, kit_files
from imagefactory.deliver.kits.write import write_kit

__all__ = ["TOOLS", "Wishes", "kit_files", "write_kit"]
