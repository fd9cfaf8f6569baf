"""A recipe and its variants: what each image is made of in the end."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from itertools import chain
from typing import Any

from pydantic import BaseModel

from imagefactory.definitions.recipes.without import leave_out
from imagefactory.model.recipe import (
    DEFAULT_VARIANT,
    Conda,
    Details,
    Inputs,
    Pip,
    Recipe,
    Variant,
    VersionFrom,
    conda_name,
    pip_name,
)
from imagefactory.model.spec import File, ImageDefinition, RecipeFolder, Sibling

# What an item of a list is called, where it is more than its name. Of one name, the variant's counts.
_CALLED: Mapping[tuple[type[BaseModel], str], Callable[[Any], Hashable]] = {
    (Pip, "packages"): pip_name,
    (Pip, "constraints"): pip_name,
    (Conda, "packages"): conda_name,
    (Recipe, "tests"): lambda test: test.name,
    (Recipe, "gui_apps"): lambda app: app.command,
    (Recipe, "waivers"): lambda waiver: (waiver.test, waiver.path),
}


def image_id(recipe: str, variant: str) -> str:
    """The one name of an image: ``eso-vlt`` and ``muse`` make ``eso-vlt-muse``."""
    return recipe if variant == DEFAULT_VARIANT else f"{recipe}-{variant}"


def selector_of(recipe: str, variant: str, variants: Collection[str]) -> str:
    """What means an image alone on a command line: ``fsl`` with others beside it is ``fsl-default``."""
    alone = variant != DEFAULT_VARIANT or len(variants) < 2
    return image_id(recipe, variant) if alone else f"{recipe}-{DEFAULT_VARIANT}"


def images_of(recipe: Recipe, folder: RecipeFolder) -> list[ImageDefinition]:
    """One definition per variant, or one in all for a recipe without variants."""
    variants = recipe.variants or {DEFAULT_VARIANT: Variant()}
    images = [_image(recipe, name, variant, folder) for name, variant in variants.items()]
    by_name: dict[str, list[ImageDefinition]] = {}
    for image in images:
        by_name.setdefault(image.repository, []).append(image)
    return [dataclasses.replace(image, siblings=_siblings(image, by_name)) for image in images]


def _siblings(image: ImageDefinition, by_name: Mapping[str, list[ImageDefinition]]) -> tuple[Sibling, ...]:
    return tuple(
        Sibling(other.id, other.variant, other.base, other.version, other.version_from)
        for other in by_name[image.repository]
        if other is not image
    )


def _image(recipe: Recipe, name: str, variant: Variant, folder: RecipeFolder) -> ImageDefinition:
    rest = leave_out(recipe, variant.without)
    fields = {field: _merge(rest, variant, field) for field in Details.model_fields}
    inputs = fields["inputs"] = _asked_for(fields["inputs"])
    if inputs.pip:
        fields["path"] += ("/opt/venv/bin",)
    if inputs.conda:
        fields["path"] += ("/opt/conda/bin",)
    folder = dataclasses.replace(folder, files=_with_written(folder.files, fields.pop("files")))
    id, stated, repository = image_id(recipe.name, name), fields.pop("version"), fields.pop("image")
    return ImageDefinition(
        id=id,
        recipe=recipe.name,
        variant=name,
        selector=selector_of(recipe.name, name, recipe.variants),
        maintainers=recipe.maintainers,
        folder=folder,
        repository=repository or id,
        version=stated if isinstance(stated, str) else "",
        version_from=stated if isinstance(stated, VersionFrom) else None,
        **{**fields, "summary": fields["summary"] or ""},
    )


def _with_written(files: Iterable[File], written: Mapping[str, str]) -> tuple[File, ...]:
    """The files beside the recipe and those that stand in it; what begins as a script can be run."""
    mode = {True: 0o755, False: 0o644}
    ours = (File(path, mode[text.startswith("#!")], text.encode()) for path, text in written.items())
    return tuple(sorted((*files, *ours), key=lambda file: file.path))


def _asked_for(inputs: Inputs) -> Inputs:
    """Without the kinds of package of which a variant left nothing."""
    empty = [kind for kind in ("pip", "conda") if (of := getattr(inputs, kind)) and not of.packages]
    return inputs.model_copy(update=dict.fromkeys(empty)) if empty else inputs


def _merge(ours: BaseModel, theirs: BaseModel, field: str) -> Any:
    """What ``theirs`` says of a field, put over or added to what ``ours`` says."""
    old = getattr(ours, field)
    if field not in theirs.model_fields_set:
        return old
    new = getattr(theirs, field)
    match old, new:
        case _, VersionFrom():
            return new
        case BaseModel(), BaseModel():
            fields = {name: _merge(old, new, name) for name in type(old).model_fields}
            return type(old).model_construct(**fields)
        case dict(), dict():
            return {**old, **new}
        case tuple(), tuple():
            return _put_over(old, new, _CALLED.get((type(ours), field), lambda item: item))
        case _:
            return new


def _put_over(
    old: tuple[Any, ...], new: tuple[Any, ...], called: Callable[[Any], Hashable]
) -> tuple[Any, ...]:
    """Both, in their order; what ``new`` has of one name takes the place of what ``old`` has of it."""
    return tuple(chain(*{**_by_name(old, called), **_by_name(new, called)}.values()))


def _by_name(items: Iterable[Any], called: Callable[[Any], Hashable]) -> dict[Hashable, list[Any]]:
    """One name may stand there twice: requirements have conditions."""
    named: dict[Hashable, list[Any]] = {}
    for item in items:
        same = named.setdefault(called(item), [])
        if item not in same:
            same.append(item)
    return named
