"""Parts of recipes: ``recipes/_parts/<name>/`` with ``part.yaml`` and, where one installs, ``install.sh``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property

from imagefactory.definitions.bases import host_architecture
from imagefactory.definitions.recipes.checks import check_part
from imagefactory.definitions.recipes.folder import read_script, read_tree
from imagefactory.definitions.recipes.said import PARTS
from imagefactory.definitions.recipes.values import built_in, fill_in, values_in
from imagefactory.definitions.recipes.variants import PartFolder
from imagefactory.errors import BadFiles, Problem
from imagefactory.model.recipe import Part
from imagefactory.model.spec import File
from imagefactory.system.workspace import Workspace
from imagefactory.yamlfiles import Text, read

FILE = "part.yaml"


def part_names(workspace: Workspace) -> list[str]:
    """The names of all parts, sorted."""
    return sorted(file.parent.name for file in (workspace.recipes / PARTS).glob(f"*/{FILE}"))


def parts_asked_for(text: Text) -> list[str]:
    """The parts that any image of a recipe is told to have, right or wrong."""
    said = [value for _, value in parts_said(text) if isinstance(value, str)]
    return list(dict.fromkeys(said))


def parts_said(text: Text) -> Iterator[tuple[tuple[str | int, ...], object]]:
    """Every name of a part in a recipe, with its place."""
    layers: list[tuple[str | int, ...]] = [()]
    for place in ((), *(("variants", name) for name in _keys(text, ("variants",)))):
        layers += [(*place, "architectures", name) for name in _keys(text, (*place, "architectures"))]
        layers += [place] if place else []
    for layer in layers:
        said = text.at((*layer, "parts"))
        for index, value in enumerate(said) if isinstance(said, tuple) else ():
            yield (*layer, "parts", index), value


def _keys(text: Text, where: tuple[str | int, ...]) -> list[str]:
    said = text.at(where)
    return list(said) if isinstance(said, dict) else []


@dataclass(frozen=True, slots=True)
class _Read:
    text: Text | None
    install: bytes
    files: tuple[File, ...]
    tests: tuple[File, ...]
    problems: tuple[Problem, ...]


class Shelf:
    """All parts, each read once."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._read = cache(self._read_folder)

    @cached_property
    def names(self) -> list[str]:
        """The names of all parts, sorted."""
        return part_names(self._workspace)

    def values(self, names: Iterable[str]) -> dict[str, str]:
        """The values of some parts; of one name the first counts."""
        found: dict[str, str] = {}
        for name in names:
            text = self._read(name).text
            found = {**(values_in(text, ()) if text else {}), **found}
        return found

    def texts(self, names: Iterable[str]) -> list[Text]:
        """What some parts say, before values are filled in."""
        return [text for name in names if (text := self._read(name).text)]

    def tests(self, name: str) -> list[str]:
        """The files of a part's tests."""
        return [file.path for file in self._read(name).tests]

    def parts(
        self, names: Iterable[str], values: Mapping[str, str], problems: list[Problem]
    ) -> Mapping[str, PartFolder]:
        """Some parts with values filled in; what is wrong with them is added to ``problems``."""
        found = {name: self._part(name, values, problems) for name in names}
        return {name: part for name, part in found.items() if part}

    def _part(self, name: str, values: Mapping[str, str], problems: list[Problem]) -> PartFolder | None:
        known = self._read(name)
        problems.extend(known.problems)
        if known.text is None:
            return None
        text = known.text.saying(fill_in(known.text.document.data, values))
        tests = [f"parts/{name}/{file.path}" for file in known.tests]
        problems.extend(check_part(text, name, tests, has_script=bool(known.install)))
        try:
            return PartFolder(text.as_a(Part), known.install, known.files, known.tests)
        except BadFiles as error:
            problems.extend(error.problems)
            return None

    def _read_folder(self, name: str) -> _Read:
        folder = self._workspace.recipes / PARTS / name
        problems: list[Problem] = []
        text: Text | None = None
        try:
            text = read(folder / FILE, self._workspace.shown(folder / FILE))
            problems += text.defects
        except BadFiles as error:
            problems += error.problems
        script = folder / "install.sh"
        there = script.exists() or script.is_symlink()
        return _Read(
            text,
            read_script(script, self._workspace, problems) if there else b"",
            read_tree(folder / "files", self._workspace, problems),
            read_tree(folder / "tests", self._workspace, problems),
            tuple(problems),
        )


def check_parts(workspace: Workspace) -> list[Problem]:
    """What is wrong with any part, whoever has it, with its own values."""
    shelf, problems = Shelf(workspace), list[Problem]()
    for name in part_names(workspace):
        shelf.parts([name], {**shelf.values([name]), **built_in(host_architecture())}, problems)
    return problems
