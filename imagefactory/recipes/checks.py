"""What must hold between the parts of a recipe, beyond the shape of each."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from pathlib import Path

from imagefactory.errors import Problem
from imagefactory.model.recipe import DEFAULT_VARIANT, Details, Recipe
from imagefactory.model.spec import ImageDefinition
from imagefactory.yamlfiles import Loaded

Where = tuple[str | int, ...]
TESTS_AT = "/tests/"


def check_recipe(loaded: Loaded[Recipe], folder: str, bases: Path) -> Iterator[Problem]:
    """Defects of the file itself: its name, its bases, what it says twice."""
    recipe = loaded.model
    if recipe.name != folder:
        yield loaded.problem(("name",), f"the name is '{recipe.name}', but the folder is '{folder}'")
    sections: list[tuple[Where, Details]] = [((), recipe)]
    sections += [(("variants", name), variant) for name, variant in recipe.variants.items()]
    known = sorted(file.stem for file in bases.glob("*.yaml"))
    for where, details in sections:
        yield from _check_base(loaded, where, details, known)
        yield from _check_repeats(loaded, where, details)


def check_images(loaded: Loaded[Recipe], images: Sequence[ImageDefinition]) -> Iterator[Problem]:
    """Defects that show only once a variant is applied."""
    for image in images:
        where = _section(loaded, image)
        if not image.version:
            yield loaded.problem(where, f"the image {image.id} has no version", key=bool(where))
        if not image.tests:
            yield loaded.problem(
                where,
                f"the image {image.id} has no smoke test: add one under 'tests'",
                key=bool(where),
            )
        if not image.folder.install.strip() and image.folder.install:
            yield loaded.problem((), "install.sh is empty")
        yield from _check_test_files(loaded, image)


def _section(loaded: Loaded[Recipe], image: ImageDefinition) -> Where:
    declared = image.variant in loaded.model.variants
    return ("variants", image.variant) if declared else ()


def _check_base(
    loaded: Loaded[Recipe], where: Where, details: Details, known: Sequence[str]
) -> Iterator[Problem]:
    if details.base is None or details.base in known:
        return
    close = difflib.get_close_matches(details.base, known, n=1)
    suggestion = f"did you mean '{close[0]}'?" if close else f"there is: {', '.join(known) or 'none'}"
    yield loaded.problem((*where, "base"), f"no base image '{details.base}', {suggestion}")


def _check_repeats(loaded: Loaded[Recipe], where: Where, details: Details) -> Iterator[Problem]:
    lists: list[tuple[Where, Sequence[str]]] = [
        (("inputs", "apt"), details.inputs.apt),
        (("commands",), details.commands),
        (("path",), details.path),
        (("tests",), [test.name for test in details.tests]),
    ]
    if details.build:
        lists.append((("build", "inputs", "apt"), details.build.inputs.apt))
    for field, values in lists:
        for index, value in enumerate(values):
            if value in values[:index]:
                place = (*where, *field, index)
                yield loaded.problem(place, f"'{value}' stands in this list twice")


def _check_test_files(loaded: Loaded[Recipe], image: ImageDefinition) -> Iterator[Problem]:
    there = {file.path for file in image.folder.tests}
    where = _section(loaded, image)
    section: Details = loaded.model
    if (where and image.variant != DEFAULT_VARIANT) or image.variant in loaded.model.variants:
        section = loaded.model.variants[image.variant]
    for home, details in ((where, section), ((), loaded.model)):
        for index, test in enumerate(details.tests):
            for word, argument in enumerate(test.command):
                file = argument.removeprefix(TESTS_AT)
                if argument.startswith(TESTS_AT) and file not in there:
                    place = (*home, "tests", index, "command", word)
                    yield loaded.problem(place, f"there is no file tests/{file}")
