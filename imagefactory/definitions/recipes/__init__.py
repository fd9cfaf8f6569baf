"""Recipe folders in, image definitions out."""

from imagefactory.definitions.recipes.checks import clash
from imagefactory.definitions.recipes.load import load_images, recipe_names
from imagefactory.definitions.recipes.new import new_recipe
from imagefactory.definitions.recipes.parts import check_parts
from imagefactory.definitions.recipes.said import PARTS, problem_of, requests_of

__all__ = [
    "PARTS",
    "check_parts",
    "clash",
    "load_images",
    "new_recipe",
    "problem_of",
    "recipe_names",
    "requests_of",
]
