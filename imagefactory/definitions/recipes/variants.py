"""A recipe, its parts and its variants: what each image is made of in the end."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from pydantic import BaseModel

from imagefactory.definitions.recipes.without import leave_out
from imagefactory.model.recipe import (
    DEFAULT_VARIANT,
    BuildInputs,
    Conda,
    Details,
    Differences,
    Inputs,
    Part,
    Pip,
    Recipe,
    Shared,
    Variant,
    VersionFrom,
    conda_name,
    pip_name,
)
from imagefactory.model.spec import File, ImageDefinition, PartStage, RecipeFolder, Sibling

# What an item of a list is called, where it is more than its name. Of one name, what is put over counts.
_CALLED: Mapping[tuple[type[BaseModel], str], Callable[[Any], Hashable]] = {
    (Pip, "packages"): pip_name,
    (Pip, "constraints"): pip_name,
    (Conda, "packages"): conda_name,
    (Shared, "tests"): lambda test: test.name,
    (Shared, "gui_apps"): lambda app: app.command,
    (Shared, "waivers"): lambda waiver: (waiver.test, waiver.path),
}


@dataclass(frozen=True, slots=True)
class PartFolder:
    """A part with the files of its folder; it has no stage where it has no script."""

    part: Part
    install: bytes
    files: tuple[File, ...]
    tests: tuple[File, ...]

    def stage(self) -> PartStage | None:
        """Where its script runs."""
        if not self.install:
            return None
        build = self.part.build
        inputs, keep = (build.inputs, build.keep) if build else (BuildInputs(), ())
        files = _with_written(self.files, self.part.files)
        return PartStage(self.part.name, self.install, files, inputs, keep)


@dataclass(frozen=True, slots=True)
class Reading:
    """A recipe as one of its images reads it: with its values filled in, and the parts that it may name."""

    recipe: Recipe
    values: Mapping[str, str]
    parts: Mapping[str, PartFolder]


def image_id(recipe: str, variant: str) -> str:
    """The one name of an image: ``eso-vlt`` and ``muse`` make ``eso-vlt-muse``."""
    return recipe if variant == DEFAULT_VARIANT else f"{recipe}-{variant}"


def selector_of(recipe: str, variant: str, variants: Collection[str]) -> str:
    """What means an image alone on a command line: ``fsl`` with others beside it is ``fsl-default``."""
    alone = variant != DEFAULT_VARIANT or len(variants) < 2
    return image_id(recipe, variant) if alone else f"{recipe}-{DEFAULT_VARIANT}"


def images_of(
    readings: Mapping[str, Reading], folder: RecipeFolder, architecture: str
) -> list[ImageDefinition]:
    """One definition per variant; a recipe without variants is read as one called ``default``."""
    images = [_image(reading, name, readings, folder, architecture) for name, reading in readings.items()]
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


def parts_named(layers: Iterable[Details]) -> list[str]:
    """The parts that an image is told to have, each once."""
    return list(dict.fromkeys(chain.from_iterable(layer.parts for layer in layers)))


def _image(
    reading: Reading, name: str, variants: Collection[str], folder: RecipeFolder, architecture: str
) -> ImageDefinition:
    recipe = reading.recipe
    layers = list(_layers(recipe, recipe.variants.get(name) or Variant.model_construct(), architecture))
    left_out = {name for layer in layers for name in layer.without.parts}
    parts = [reading.parts[part] for part in parts_named([recipe, *layers]) if part not in left_out]
    said = recipe
    for each in parts:
        said = _put_under(each.part, said)
    for layer in layers:
        said = _put_over(leave_out(said, layer.without), layer)
    fields = {field: getattr(said, field) for field in Details.model_fields if field != "values"}
    inputs = fields["inputs"] = _asked_for(fields["inputs"])
    if inputs.pip:
        fields["path"] += ("/opt/venv/bin",)
    if inputs.conda:
        fields["path"] += ("/opt/conda/bin",)
    tests = chain(folder.tests, *(_of_part(each.part.name, each.tests) for each in parts))
    files = _with_written(folder.files, fields.pop("files"))
    id, stated, repository = image_id(recipe.name, name), fields.pop("version"), fields.pop("image")
    fields["parts"] = tuple(each.part.name for each in parts)
    return ImageDefinition(
        id=id,
        recipe=recipe.name,
        variant=name,
        selector=selector_of(recipe.name, name, variants),
        maintainers=recipe.maintainers,
        folder=dataclasses.replace(folder, files=files, tests=_sorted(tests)),
        repository=repository or id,
        version=stated if isinstance(stated, str) else "",
        version_from=stated if isinstance(stated, VersionFrom) else None,
        values=reading.values,
        stages=tuple(stage for each in parts if (stage := each.stage())),
        **{**fields, "summary": fields["summary"] or ""},
    )


def _layers(recipe: Recipe, variant: Variant, architecture: str) -> Iterable[Differences]:
    """What differs, one put over the other: on this kind of machine, in the variant, in that on it."""
    yield from (layer for name, layer in recipe.architectures.items() if name == architecture)
    yield variant
    yield from (layer for name, layer in variant.architectures.items() if name == architecture)


def _of_part(name: str, files: Iterable[File]) -> Iterable[File]:
    return (dataclasses.replace(file, path=f"parts/{name}/{file.path}") for file in files)


def _with_written(files: Iterable[File], written: Mapping[str, str]) -> tuple[File, ...]:
    """The files beside the recipe and those that stand in it; what begins as a script can be run."""
    mode = {True: 0o755, False: 0o644}
    ours = (File(path, mode[text.startswith("#!")], text.encode()) for path, text in written.items())
    return _sorted(chain(files, ours))


def _sorted(files: Iterable[File]) -> tuple[File, ...]:
    return tuple(sorted(files, key=lambda file: file.path))


def _asked_for(inputs: Inputs) -> Inputs:
    """Without the kinds of package of which a variant left nothing."""
    empty = [kind for kind in ("pip", "conda") if (of := getattr(inputs, kind)) and not of.packages]
    return inputs.model_copy(update=dict.fromkeys(empty)) if empty else inputs


def _put_over(ours: Recipe, theirs: Differences) -> Recipe:
    """What is said in a recipe, and what differs from it."""
    if not theirs.model_fields_set:
        return ours
    return ours.model_copy(update={f: _merged(ours, theirs, f) for f in Details.model_fields})


def _put_under(part: Part, ours: Recipe) -> Recipe:
    """What a recipe says, and what a part says besides. The part's stage remains its own, with its files."""
    fields = [field for field in Shared.model_fields if field not in ("build", "files")]
    return ours.model_copy(update={f: _merged(part, ours, f, theirs_first=True) for f in fields})


def _merged(ours: BaseModel, theirs: BaseModel, field: str, *, theirs_first: bool = False) -> Any:
    """What ``theirs`` says of a field, put over or added to what ``ours`` says."""
    old = getattr(ours, field)
    if field not in theirs.model_fields_set:
        return old
    new = getattr(theirs, field)
    match old, new:
        case _, VersionFrom():
            return new
        case BaseModel(), BaseModel():
            return _merged_model(old, new, theirs_first=theirs_first)
        case dict(), dict():
            return {**old, **new}
        case tuple(), tuple():
            called = _CALLED.get((_home(type(ours)), field), lambda item: item)
            olds, news = _by_name(old, called), _by_name(new, called)
            merged = {**news, **{k: v for k, v in olds.items() if k not in news}} if theirs_first else None
            return tuple(chain(*(merged or {**olds, **news}).values()))
        case _:
            return new


def _merged_model(old: BaseModel, new: BaseModel, *, theirs_first: bool) -> BaseModel:
    names = type(old).model_fields
    fields = {name: _merged(old, new, name, theirs_first=theirs_first) for name in names}
    # What neither says stays unsaid: it must not go before what a third one says.
    return type(old).model_construct(old.model_fields_set | new.model_fields_set, **fields)


def _home(kind: type[BaseModel]) -> type[BaseModel]:
    """The model that lists and mappings of a kind of model are known by."""
    return next((each for each in (Shared, Pip, Conda) if issubclass(kind, each)), kind)


def _by_name(items: Iterable[Any], called: Callable[[Any], Hashable]) -> dict[Hashable, Sequence[Any]]:
    """One name may stand there twice: requirements have conditions."""
    named: dict[Hashable, list[Any]] = {}
    for item in items:
        same = named.setdefault(called(item), [])
        if item not in same:
            same.append(item)
    return dict(named)
