"""Recipes of other tools in, recipe folders of ours out."""

from imagefactory.importing.drafting.draft import DONE, NOT, OUTCOMES, PART, Remark
from imagefactory.importing.readers.read import read_foreign
from imagefactory.importing.writing.write import Imported, write_import

__all__ = ["DONE", "NOT", "OUTCOMES", "PART", "Imported", "Remark", "read_foreign", "write_import"]
