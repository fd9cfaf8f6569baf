"""Recipe folders to image definitions; every defect of every folder in one reading."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from imagefactory.definitions.bases import container_bases, host_architecture
from imagefactory.definitions.recipes.checks import Surroundings, check_images, check_recipe, check_written
from imagefactory.definitions.recipes.folder import read_readme, read_script, read_tree
from imagefactory.definitions.recipes.parts import Shelf, parts_asked_for
from imagefactory.definitions.recipes.said import PARTS
from imagefactory.definitions.recipes.values import built_in, fill_in, misspelt, taken, values_in
from imagefactory.definitions.recipes.variants import Reading, images_of
from imagefactory.errors import BadFiles, Problem
from imagefactory.model.recipe import DEFAULT_VARIANT, Recipe
from imagefactory.model.spec import ImageDefinition, RecipeFolder
from imagefactory.system.history import Place, Standing, standings
from imagefactory.system.workspace import Workspace
from imagefactory.yamlfiles import Text, content_of, text_of

IN_IMAGES = ("recipe.yaml", "install.sh", "lock.yaml", "files", "README.md")
"""What decides what is in a recipe's images: its tests do not."""
OF_PARTS = ("part.yaml", "install.sh", "files")
"""The same of its parts."""


def recipe_names(workspace: Workspace) -> list[str]:
    """The names of all recipe folders, sorted."""
    folders = (f for f in workspace.recipes.iterdir() if f.is_dir() and f.name[0] not in "._")
    return sorted(folder.name for folder in folders)


def load_images(workspace: Workspace, recipes: Iterable[str]) -> list[ImageDefinition]:
    """All images of the named recipes. Raises BadFiles with every defect of every one of them."""
    problems: list[Problem] = []
    images: dict[str, ImageDefinition] = {}
    taken: dict[str, Problem] = {}
    names = list(recipes)
    bases = container_bases(workspace)
    shelf = Shelf(workspace)
    contents = [_content(workspace, name) for name in names]
    places = [_place(workspace, name, content) for name, content in zip(names, contents, strict=True)]
    for name, content, now in zip(names, contents, standings(places), strict=True):
        try:
            text, variants = _load_one(workspace, name, content, shelf, bases, now)
        except BadFiles as error:
            problems.extend(error.problems)
            continue
        for image in variants:
            here = text.problem(("variants", image.variant), "", key=True)
            images.setdefault(image.id, image)
            for word in dict.fromkeys((image.id, image.selector, image.repository)):
                first = taken.setdefault(word, here)
                if first.path != here.path:
                    there = f"{first.path}:{first.line}:{first.column}"
                    message = f"the image {word} exists already: {there}"
                    problems.append(dataclasses.replace(here, message=message))
    if problems:
        raise BadFiles(list(dict.fromkeys(problems)))
    return list(images.values())


def _content(workspace: Workspace, name: str) -> bytes | BadFiles:
    """A recipe's file, opened this once, or what is wrong with it."""
    file = workspace.recipes / name / "recipe.yaml"
    try:
        return content_of(file, workspace.shown(file))
    except BadFiles as error:
        return error


def _place(workspace: Workspace, name: str, content: bytes | BadFiles) -> Place:
    names = [f"{name}/{each}" for each in IN_IMAGES]
    for part in _parts(content):
        names += [f"{PARTS}/{part}/{each}" for each in OF_PARTS]
    return Place(workspace.recipes, tuple(names))


def _parts(content: bytes | BadFiles) -> list[str]:
    """The parts that a recipe names. Few have any, and thousands of recipes are not understood twice."""
    if isinstance(content, BadFiles) or b"parts" not in content:
        return []
    try:
        return parts_asked_for(text_of(content, ""))
    except BadFiles:  # which is told where it is understood for good
        return []


def _load_one(
    workspace: Workspace,
    name: str,
    content: bytes | BadFiles,
    shelf: Shelf,
    bases: Sequence[str],
    now: Standing,
) -> tuple[Text, list[ImageDefinition]]:
    folder = workspace.recipes / name
    problems: list[Problem] = []
    contents = _read_folder(folder, workspace, now, problems)
    try:
        if isinstance(content, BadFiles):
            raise content
        text = text_of(content, workspace.shown(folder / "recipe.yaml"))
    except BadFiles as error:
        raise BadFiles([*problems, *error.problems]) from None
    problems += text.defects
    there = shelf.names
    asked = [part for part in parts_asked_for(text) if part in there]
    tests = [file.path for file in contents.tests]
    tests += [f"parts/{part}/{file}" for part in asked for file in shelf.tests(part)]
    variants = _variants(text)
    around = Surroundings(
        name,
        tests,
        bases,
        lambda other: (workspace.recipes / other).is_dir(),
        variants,
        there,
        shelf.texts(asked),
    )
    architecture = host_architecture()
    readings: dict[str, Reading] = {}
    problems += taken(text, *_where_values(text, variants, architecture))
    for values, those in _by_values(text, variants, architecture, shelf, asked):
        said = _saying(text, values, those)
        problems += misspelt(said, values)
        try:
            recipe = said.as_a(Recipe)
        except BadFiles as error:
            problems += error.problems
        else:
            parts = shelf.parts(asked, values, problems)
            own = {name: value for name, value in values.items() if name not in built_in("")}
            readings |= dict.fromkeys(those, Reading(recipe, own, parts))
        problems += check_recipe(said, around)
    if problems:
        raise BadFiles(list(dict.fromkeys(problems)))
    images = images_of({variant: readings[variant] for variant in variants}, contents, architecture)
    in_folder = [file.path for file in contents.files]
    problems += [*check_written(text, in_folder), *check_images(text, images)]
    if problems:
        raise BadFiles(list(dict.fromkeys(problems)))
    return text, images


def _variants(text: Text) -> list[str]:
    said = text.at(("variants",))
    return list(said) if isinstance(said, dict) and said else [DEFAULT_VARIANT]


def _where_values(text: Text, variants: Iterable[str], architecture: str) -> list[tuple[str | int, ...]]:
    of_recipe = [(), ("architectures", architecture)]
    of_variants = [("variants", name, *place) for name in variants for place in of_recipe]
    return [*of_recipe, *of_variants]


def _by_values(
    text: Text, variants: Iterable[str], architecture: str, shelf: Shelf, parts: Sequence[str]
) -> list[tuple[Mapping[str, str], list[str]]]:
    """The values, and the variants that have them: most recipes are read once."""
    of_parts = shelf.values(parts)
    groups: list[tuple[Mapping[str, str], list[str]]] = []
    for variant in variants:
        own = values_in(text, *_where_values(text, [variant], architecture))
        values = {**of_parts, **own, **built_in(architecture)}
        same = next((those for known, those in groups if known == values), None)
        if same is None:
            groups.append((values, [variant]))
        else:
            same.append(variant)
    return groups


def _saying(text: Text, values: Mapping[str, str], variants: Sequence[str]) -> Text:
    """What a recipe says for some of its variants, with their values."""
    said = text.document.data
    if isinstance(said, dict) and isinstance(said.get("variants"), dict):
        some = {name: value for name, value in said["variants"].items() if name in variants}
        said = {**said, "variants": some}
    return text.saying(fill_in(said, values))


def _read_folder(folder: Path, workspace: Workspace, now: Standing, problems: list[Problem]) -> RecipeFolder:
    return RecipeFolder(
        install=read_script(folder / "install.sh", workspace, problems),
        files=read_tree(folder / "files", workspace, problems),
        tests=read_tree(folder / "tests", workspace, problems),
        icons=read_tree(folder / "icons", workspace, problems),
        readme=read_readme(folder / "README.md", workspace, problems),
        revision=now.revision,
        epoch=now.epoch,
    )
