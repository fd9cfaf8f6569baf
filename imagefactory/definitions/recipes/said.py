"""Where a recipe's file says what an image is made of, for messages long after it was read."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from imagefactory.definitions.bases import host_architecture
from imagefactory.definitions.recipes.values import built_in, fill_in
from imagefactory.errors import Problem
from imagefactory.model.recipe import BuildInputs, conda_name, pip_name
from imagefactory.model.spec import ImageDefinition
from imagefactory.system.workspace import Workspace
from imagefactory.yamlfiles import Text, read

PARTS = "_parts"

Where = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Mention:
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


def requests_of(workspace: Workspace, image: ImageDefinition, kind: str) -> list[Mention]:
    """Everything of one kind of package that an image asks for. Raises BadFiles where that can't be read."""
    texts = [_text(workspace, image), *(_part(workspace, image, part) for part in image.parts)]
    entries = list(_entries(image, kind))
    return [asked for field, entry in entries if (asked := _asked(texts, image, field, entry))]


def problem_of(workspace: Workspace, image: ImageDefinition, field: str, message: str) -> Problem:
    """A defect of what an image's variant, or else its recipe, says of a field."""
    text = _text(workspace, image)
    return text.problem(said_at(text, image, field), message)


def said_at(text: Text, image: ImageDefinition, field: str) -> Where:
    """Where a field of an image is said: by its variant, or else by its recipe."""
    own: Where = ("variants", image.variant, field)
    return own if text.at(own) is not None else (field,)


def _text(workspace: Workspace, image: ImageDefinition) -> Text:
    return _filled(workspace, image, workspace.recipes / image.recipe / "recipe.yaml")


def _part(workspace: Workspace, image: ImageDefinition, part: str) -> Text:
    return _filled(workspace, image, workspace.recipes / PARTS / part / "part.yaml")


def _filled(workspace: Workspace, image: ImageDefinition, file: Path) -> Text:
    text = read(file, workspace.shown(file))
    values = {**image.values, **built_in(host_architecture())}
    return text.saying(fill_in(text.document.data, values))


def _entries(image: ImageDefinition, kind: str) -> Iterator[tuple[Where, str]]:
    """What an image asks for in the end, and the lists that it may come from."""
    inputs, build = image.inputs, image.build_inputs or BuildInputs()
    if kind == "apt":
        yield from ((("inputs", "apt"), name) for name in inputs.apt)
        yield from ((("build", "inputs", "apt"), name) for name in build.apt)
    if kind == "pip" and inputs.pip:
        yield from ((("inputs", "pip", "packages"), entry) for entry in inputs.pip.packages)
        yield from ((("inputs", "pip", "constraints"), entry) for entry in inputs.pip.constraints)
    if kind == "conda" and inputs.conda:
        yield from ((("inputs", "conda", "packages"), entry) for entry in inputs.conda.packages)


def _asked(texts: Sequence[Text], image: ImageDefinition, field: Where, entry: str) -> Mention | None:
    """The first line that says so: the variant's, if it does; its recipe's, or else a part's."""
    called = {"pip": pip_name, "conda": conda_name}.get(str(field[-2]), str)
    machine: Where = ("architectures", host_architecture())
    of_variant: Where = ("variants", image.variant)
    layers = (
        ((*of_variant, *machine), image.variant),
        (of_variant, image.variant),
        (machine, ""),
        ((), ""),
    )
    for text in texts:
        for layer, variant in layers:
            home = (*layer, *field)
            said = text.at(home)
            if isinstance(said, tuple) and entry in said:
                line, column = text.document.place((*home, said.index(entry)))
                return Mention(called(entry), entry, f"{text.path}:{line}:{column}", variant)
    return None
