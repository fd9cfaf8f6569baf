"""What must hold between the parts of a recipe, beyond the shape of each.

These checks read the plain text of the recipe, not its model, so that they also find what is wrong
beside a value of the wrong shape. That one is reported elsewhere, and passed over here.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from imagefactory.definitions.recipes.variants import image_id
from imagefactory.errors import Problem
from imagefactory.model.recipe import DEFAULT_VARIANT
from imagefactory.system.records import BUNDLES
from imagefactory.yamlfiles import Text, shorten

Where = tuple[str | int, ...]
TESTS_AT = "/tests/"

_LISTS: tuple[Where, ...] = (
    ("inputs", "apt"),
    ("inputs", "pip", "packages"),
    ("inputs", "pip", "constraints"),
    ("inputs", "conda", "channels"),
    ("inputs", "conda", "packages"),
    ("build", "inputs", "apt"),
    ("commands",),
    ("path",),
    ("home_folders",),
)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What stands around a recipe's file: its folder's name, its tests' files, the base images."""

    folder: str
    tests: Sequence[str]
    bases: Sequence[str]


def check_recipe(recipe: Text, around: Surroundings) -> Iterator[Problem]:
    """Every defect that no single value has by itself."""
    name = recipe.at(("name",))
    if isinstance(name, str) and name != around.folder:
        yield recipe.problem(
            ("name",), f"the name is '{shorten(name)}', but the folder is '{shorten(around.folder)}'"
        )
    for where in ((), *_variants(recipe)):
        yield from _check_base(recipe, where, around.bases)
        yield from _check_repeats(recipe, where)
        yield from _check_test_files(recipe, where, around.tests)
    for where in _variants(recipe) or [()]:
        yield from _check_image(recipe, where, around)


def _variants(recipe: Text) -> list[Where]:
    variants = recipe.at(("variants",))
    return [("variants", name) for name in variants] if isinstance(variants, dict) else []


def _check_base(recipe: Text, where: Where, known: Sequence[str]) -> Iterator[Problem]:
    base = recipe.at((*where, "base"))
    if not isinstance(base, str) or base in known:
        return
    close = difflib.get_close_matches(base, known, n=1)
    suggestion = f"did you mean '{close[0]}'?" if close else f"there is: {', '.join(known) or 'none'}"
    yield recipe.problem((*where, "base"), f"no base image '{shorten(base)}', {suggestion}")


def _check_repeats(recipe: Text, where: Where) -> Iterator[Problem]:
    items = [(place, value) for field in _LISTS for place, value in _items(recipe, (*where, *field))]
    items += [
        ((*place, "name"), recipe.at((*place, "name"))) for place, _ in _items(recipe, (*where, "tests"))
    ]
    seen: dict[tuple[Where, str], Where] = {}
    for place, value in items:
        if not isinstance(value, str):
            continue
        home = tuple(part for part in place if isinstance(part, str))
        first = seen.setdefault((home, value), place)
        if first != place:
            line = recipe.document.place(first)[0]
            yield recipe.problem(place, f"'{shorten(value)}' is given twice: first in line {line}")


def _check_test_files(recipe: Text, where: Where, files: Sequence[str]) -> Iterator[Problem]:
    known = {str(path) for file in files for path in (PurePath(file), *PurePath(file).parents)} | {"."}
    for test, _ in _items(recipe, (*where, "tests")):
        for place, word in _items(recipe, (*test, "command")):
            if not isinstance(word, str) or not word.startswith(TESTS_AT):
                continue
            file = word.removeprefix(TESTS_AT)
            if str(PurePath(file)) not in known:
                close = difflib.get_close_matches(file, files, n=1)
                suggestion = f", did you mean '{TESTS_AT}{close[0]}'?" if close else ""
                yield recipe.problem(place, f"there is no file tests/{shorten(file)}{suggestion}")


MAX_ID = 63  # as a DNS label: it becomes part of tags and host names


def _check_image(recipe: Text, where: Where, around: Surroundings) -> Iterator[Problem]:
    """Defects that show only once a variant is applied."""
    name = shorten(image_id(around.folder, str(where[-1]) if where else DEFAULT_VARIANT))

    def given(*field: str) -> bool:
        return bool(recipe.at((*where, *field)) or recipe.at(field))

    def here(message: str) -> Problem:
        return recipe.problem(where, message, key=bool(where))

    if name in around.bases:
        yield here(f"the image {name} would have the name of a base image")
    if len(name) > MAX_ID:
        yield here(f"the image's name {name} is longer than {MAX_ID} letters")
    if name == BUNDLES:
        yield here(f"no image can be called {name}: build/{name}/ holds bundles")
    if not given("version"):
        yield here(f"the image {name} has no version: add the key 'version'")
    if not given("tests"):
        yield here(f"the image {name} has no smoke test: add one under 'tests'")
    for place in _sources(recipe, where, "build", "inputs", "sources"):
        if place[-1] in {known[-1] for known in _sources(recipe, where, "inputs", "sources")}:
            message = f"the source '{shorten(str(place[-1]))}' is declared under 'inputs' too"
            yield recipe.problem(place, message, key=True)


def _sources(recipe: Text, where: Where, *field: str) -> list[Where]:
    homes = [home for home in ((*where, *field), field) if isinstance(recipe.at(home), dict)]
    return [(*home, name) for home in homes for name in recipe.at(home)]


def _items(recipe: Text, where: Where) -> list[tuple[Where, object]]:
    """The items of a list, each with its place; none where there is no list."""
    value = recipe.at(where)
    return [((*where, index), item) for index, item in enumerate(value)] if isinstance(value, tuple) else []
