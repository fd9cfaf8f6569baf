"""YAML files in, validated models out, with the file, line and column of every defect."""

from imagefactory.yamlfiles.load import Loaded, Text, load
from imagefactory.yamlfiles.parse import shorten

__all__ = ["Loaded", "Text", "load", "shorten"]
