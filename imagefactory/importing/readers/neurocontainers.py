"""Recipes of neurocontainers: ``build.yaml``.

The format: https://github.com/NeuroDesk/neurocontainers/blob/main/builder/README.md. Texts are Jinja
templates; directives are read in their order, groups and macros in their place.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any, Literal

from imagefactory.errors import BadFiles, BadInput
from imagefactory.importing.readers.directives import Expander
from imagefactory.importing.readers.filling import Filler, sharable
from imagefactory.importing.readers.metadata import Metadata
from imagefactory.importing.readers.tests_of import tests_beside
from imagefactory.importing.steps import Action, Described, Foreign, Nothing
from imagefactory.system.templates import Unfillable
from imagefactory.yamlfiles import Text

_MACHINES: dict[str, Literal["amd64", "arm64"]] = {
    **dict.fromkeys(("x86_64", "amd64", "AMD64"), "amd64"),
    **dict.fromkeys(("aarch64", "arm64", "ARM64"), "arm64"),
}
_THEIRS = {"amd64": "x86_64", "arm64": "aarch64"}
_OTHERS = {
    "variants": "variants are to be written by hand: what each changes in the options",
    "apptainer_args": "options of Apptainer are given by whoever runs an image",
    "draft": "upstream has it as a draft",
}


def read_neurocontainers(text: Text, folder: Path) -> Described:
    """A ``build.yaml`` in ``folder``. Raises BadFiles for what is no such file."""
    data = text.document.data
    build = data.get("build")
    if not isinstance(build, dict):
        message = "there is no 'build' with directives: is this a build.yaml of neurocontainers?"
        raise BadFiles([text.problem(("build",) if "build" in data else (), message)])
    machines = tuple(
        dict.fromkeys(_MACHINES[m] for m in map(str, _list(data.get("architectures"))) if m in _MACHINES)
    )
    machines = machines or ("amd64",)
    contexts = {machine: _context(data, machine) for machine in machines}
    common = {
        name: value
        for name, value in contexts[machines[0]].items()
        if all(other.get(name) == value for other in contexts.values())
    }
    shared = sharable(common)
    expanders = {
        machine: Expander(text, folder, Filler(_THEIRS[machine], contexts[machine], str, shared))
        for machine in machines
    }
    lists = {machine: list(expander.steps()) for machine, expander in expanders.items()}
    used = {name for expander in expanders.values() for name in expander.filler.used}
    values = {name: shared[name] for name in shared if name in used}
    filler = expanders[machines[0]].filler
    metadata = Metadata(text, folder, filler)
    described = metadata.described(machines, values)
    tests = tests_beside(text, folder, lambda said: _filled(filler, said))
    steps = [*_merged(lists), *tests, *_of_readme(text, metadata.left), *_rest(text, data)]
    described.steps = tuple(steps)
    return described


def _context(data: dict[str, Any], machine: str) -> dict[str, Any]:
    """What ``context`` holds: name and version, the options as they are by default, and the variables."""
    options = {name: said for name, said in _mapping(data.get("options")).items() if isinstance(said, dict)}
    defaults = {name: said.get("default") is True for name, said in options.items()}
    version = _plain(data.get("version"))
    suffixes = (str(options[name].get("version_suffix") or "") for name, on in defaults.items() if on)
    context: dict[str, Any] = {
        "name": _plain(data.get("name")),
        "version": version + "".join(suffixes),
        "original_version": version,
        "arch": _THEIRS[machine],
        "options": defaults,
    }
    filler = Filler(_THEIRS[machine], context, str)
    for name, said in _mapping(data.get("variables")).items():
        try:
            context[name] = filler.fill(said, {})
        except Unfillable:
            continue  # whatever uses it says so
    return context


def _merged(lists: dict[Literal["amd64", "arm64"], list[Action]]) -> Iterator[Action]:
    """The steps of all kinds of machine in one list: those that differ are for one of them."""
    if len(lists) == 1:
        yield from next(iter(lists.values()))
        return
    (one, first), (two, second) = lists.items()
    for action, i1, i2, j1, j2 in SequenceMatcher(None, first, second, autojunk=False).get_opcodes():
        if action == "equal":
            yield from first[i1:i2]
            continue
        for machine, some in ((one, first[i1:i2]), (two, second[j1:j2])):
            for step in some:
                yield _only(step, machine)


def _only(step: Action, machine: str) -> Action:
    import dataclasses

    return dataclasses.replace(step, only=machine)


def _filled(filler: Filler, said: Any) -> str:
    """A text of a test: shells have uses of their own for what else begins a template."""
    if isinstance(said, str) and "{{" in said:
        return filler.fill(said, {})
    return "" if said is None else str(said)


def _of_readme(text: Text, left: dict[str, str]) -> Iterator[Action]:
    for key, error in left.items():
        why = f"README.md has templates as they were: {error}"
        yield Foreign(kind=key, place=_place(text, key), text="", why=why, partly=True, about=True)


def _rest(text: Text, data: dict[str, Any]) -> Iterator[Action]:
    for key, why in _OTHERS.items():
        if data.get(key):
            yield Foreign(kind=key, place=_place(text, key), text="", why=why, about=True)
    for name, said in _mapping(data.get("options")).items():
        on = isinstance(said, dict) and said.get("default") is True
        why = f"the option {name} is {'on' if on else 'off'}, its default; a variant could be the other"
        yield Foreign(
            kind="option", place=_place(text, "options", name), text="", why=why, partly=True, about=True
        )
    for key in ("auto_update", "epoch", "show_in_menu", "show_in_applist"):
        if key in data:
            yield Nothing(kind=key, place=_place(text, key), why="it is of their catalogue")


def _place(text: Text, *path: str) -> str:
    return f"line {text.document.place(path)[0]}"


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, tuple) else () if value is None else (value,)


def is_macro(text: Text) -> bool:
    """Whether a file is one that recipes include: it has directives and no recipe around them."""
    return "directives" in text.document.data and "build" not in text.document.data


__all__ = ["BadInput", "is_macro", "read_neurocontainers"]
