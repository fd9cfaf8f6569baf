"""Recipe folders in, image definitions out."""

from imagefactory.definitions.recipes.load import load_images, recipe_names
from imagefactory.definitions.recipes.new import new_recipe

__all__ = ["load_images", "new_recipe", "recipe_names"]
