"""YAML files in, validated models out, with the file, line and column of every defect."""

from imagefactory.yamlfiles.load import Loaded, load

__all__ = ["Loaded", "load"]
