"""Where a recipe's file says what an image is made of, for messages long after it was read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from imagefactory.errors import Problem
from imagefactory.model.recipe import BuildInputs, Recipe, conda_name, pip_name
from imagefactory.model.spec import ImageDefinition
from imagefactory.system.workspace import Workspace
from imagefactory.yamlfiles import Text, load

Where = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Asked:
    """A package that is asked for, with the text and the place (``file:line:column``) that ask for it."""

    name: str
    text: str
    place: str
    variant: str = ""

    def __str__(self) -> str:
        of = f", in the variant {self.variant}" if self.variant else ""
        return f"{self.place} asks for {self.text}{of}"

    def is_named_in(self, said: str) -> bool:
        """Whether a resolver's words name the package."""
        return re.search(rf"(?<![\w.+-]){re.escape(self.name)}(?![\w+-])", said, re.IGNORECASE) is not None


def requests_of(workspace: Workspace, image: ImageDefinition, kind: str) -> list[Asked]:
    """Everything of one kind of package that an image asks for. Raises BadFiles where that has become bad."""
    text = _text(workspace, image)
    return [asked for field, entry in _entries(image, kind) for asked in _places(text, image, field, entry)]


def problem_of(workspace: Workspace, image: ImageDefinition, field: str, message: str) -> Problem:
    """A defect of what an image's variant, or else its recipe, says of a field."""
    text = _text(workspace, image)
    return text.problem(said_at(text, image, field), message)


def said_at(text: Text, image: ImageDefinition, field: str) -> Where:
    """Where a field of an image is said: by its variant, or else by its recipe."""
    own: Where = ("variants", image.variant, field)
    return own if text.at(own) is not None else (field,)


def _text(workspace: Workspace, image: ImageDefinition) -> Text:
    file = workspace.recipes / image.recipe / "recipe.yaml"
    return load(file, workspace.shown(file), Recipe).text


def _entries(image: ImageDefinition, kind: str) -> Iterator[tuple[Where, str]]:
    """What an image asks for in the end, and the lists that it may come from."""
    inputs, build = image.inputs, image.build.inputs if image.build else BuildInputs()
    if kind == "apt":
        yield from ((("inputs", "apt"), name) for name in inputs.apt)
        yield from ((("build", "inputs", "apt"), name) for name in build.apt)
    if kind == "pip" and inputs.pip:
        yield from ((("inputs", "pip", "packages"), entry) for entry in inputs.pip.packages)
        yield from ((("inputs", "pip", "constraints"), entry) for entry in inputs.pip.constraints)
    if kind == "conda" and inputs.conda:
        yield from ((("inputs", "conda", "packages"), entry) for entry in inputs.conda.packages)


def _places(text: Text, image: ImageDefinition, field: Where, entry: str) -> Iterator[Asked]:
    """The first line that says so: the variant's, if it does."""
    called = {"pip": pip_name, "conda": conda_name}.get(str(field[-2]), str)
    for home, variant in ((("variants", image.variant, *field), image.variant), (field, "")):
        said = text.at(home)
        if isinstance(said, tuple) and entry in said:
            line, column = text.document.place((*home, said.index(entry)))
            yield Asked(called(entry), entry, f"{text.path}:{line}:{column}", variant)
            return
