"""Recipe folders to image definitions; every defect of every folder in one reading."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path

from imagefactory.definitions.bases import base_names
from imagefactory.definitions.recipes.checks import Surroundings, check_images, check_recipe, check_written
from imagefactory.definitions.recipes.folder import read_readme, read_script, read_tree
from imagefactory.definitions.recipes.variants import images_of
from imagefactory.errors import BadFiles, Problem
from imagefactory.model.recipe import Recipe
from imagefactory.model.spec import ImageDefinition, RecipeFolder
from imagefactory.system.history import Place, Standing, standings
from imagefactory.system.workspace import Workspace
from imagefactory.yamlfiles import Loaded, load


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
    bases = base_names(workspace)
    for name, now in zip(names, standings([_place(workspace, name) for name in names]), strict=True):
        try:
            loaded, variants = _load_one(workspace, name, bases, now)
        except BadFiles as error:
            problems.extend(error.problems)
            continue
        for image in variants:
            here = loaded.problem(("variants", image.variant), "", key=True)
            images.setdefault(image.id, image)
            for word in dict.fromkeys((image.id, image.selector, image.repository)):
                first = taken.setdefault(word, here)
                if first.path != here.path:
                    there = f"{first.path}:{first.line}:{first.column}"
                    message = f"the image {word} exists already: {there}"
                    problems.append(dataclasses.replace(here, message=message))
    if problems:
        raise BadFiles(problems)
    return list(images.values())


def _place(workspace: Workspace, name: str) -> Place:
    # Tests are not in the image: an edit of one must not change it.
    return Place(workspace.recipes / name, ("recipe.yaml", "install.sh", "lock.yaml", "files", "README.md"))


def _load_one(
    workspace: Workspace, name: str, bases: Sequence[str], now: Standing
) -> tuple[Loaded[Recipe], list[ImageDefinition]]:
    folder = workspace.recipes / name
    file = folder / "recipe.yaml"
    problems: list[Problem] = []
    contents = _read_folder(folder, workspace, now, problems)
    tests = [file.path for file in contents.tests]
    around = Surroundings(name, tests, bases, lambda other: (workspace.recipes / other).is_dir())
    try:
        loaded = load(file, workspace.shown(file), Recipe, lambda text: check_recipe(text, around))
    except BadFiles as error:
        raise BadFiles([*problems, *error.problems]) from None
    if problems:
        raise BadFiles(problems)
    images = images_of(loaded.model, contents)
    in_folder = [file.path for file in contents.files]
    problems += [*check_written(loaded.text, in_folder), *check_images(loaded.text, images)]
    if problems:
        raise BadFiles(problems)
    return loaded, images


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
