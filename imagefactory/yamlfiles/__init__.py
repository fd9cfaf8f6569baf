"""YAML files in, validated models out, with the file, line and column of every defect; and back again."""

from imagefactory.yamlfiles.lenient import read_leniently
from imagefactory.yamlfiles.load import Loaded, Text, content_of, load, read, text_of
from imagefactory.yamlfiles.parse import shorten
from imagefactory.yamlfiles.write import dump

__all__ = ["Loaded", "Text", "content_of", "dump", "load", "read", "read_leniently", "shorten", "text_of"]
