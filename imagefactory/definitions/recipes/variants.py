"""A recipe and its variants: what each image is made of in the end."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from imagefactory.model.recipe import DEFAULT_VARIANT, Details, Recipe, SmokeTest, Variant
from imagefactory.model.spec import ImageDefinition, RecipeFolder


def image_id(recipe: str, variant: str) -> str:
    """The one name of an image: ``eso-vlt`` and ``muse`` make ``eso-vlt-muse``."""
    return recipe if variant == DEFAULT_VARIANT else f"{recipe}-{variant}"


def images_of(recipe: Recipe, folder: RecipeFolder) -> list[ImageDefinition]:
    """One definition per variant, or one in all for a recipe without variants."""
    variants = recipe.variants or {DEFAULT_VARIANT: Variant()}
    return [_image(recipe, name, variant, folder) for name, variant in variants.items()]


def _image(recipe: Recipe, name: str, variant: Variant, folder: RecipeFolder) -> ImageDefinition:
    fields = {field: _merge(recipe, variant, field) for field in Details.model_fields}
    inputs = fields["inputs"]
    if inputs.pip:
        fields["path"] += ("/opt/venv/bin",)
    if inputs.conda:
        fields["path"] += ("/opt/conda/bin",)
    return ImageDefinition(
        id=image_id(recipe.name, name),
        recipe=recipe.name,
        variant=name,
        maintainers=recipe.maintainers,
        folder=folder,
        **{**fields, "summary": fields["summary"] or "", "version": fields["version"] or ""},
    )


def _merge(ours: BaseModel, theirs: BaseModel, field: str) -> Any:
    """What ``theirs`` says of a field, put over or added to what ``ours`` says."""
    old = getattr(ours, field)
    if field not in theirs.model_fields_set:
        return old
    new = getattr(theirs, field)
    match old, new:
        case BaseModel(), BaseModel():
            fields = {name: _merge(old, new, name) for name in type(old).model_fields}
            return type(old).model_construct(**fields)
        case dict(), dict():
            return {**old, **new}
        case tuple(), tuple():
            return _add(old, new)
        case _:
            return new


def _add(old: tuple[Any, ...], new: tuple[Any, ...]) -> tuple[Any, ...]:
    if any(isinstance(item, SmokeTest) for item in (*old, *new)):
        return tuple({test.name: test for test in (*old, *new)}.values())
    return tuple(dict.fromkeys((*old, *new)))
