"""Values that a recipe uses more than once: ``${name}`` anywhere in it, where ``values`` has that name."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from imagefactory.errors import Problem
from imagefactory.yamlfiles import Text

Where = tuple[str | int, ...]
VALUES = "values"
_PLACE = re.compile(r"\$\{([a-z][a-z0-9_]*)\}")
_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}


def built_in(architecture: str) -> dict[str, str]:
    """What every recipe may use: ``${architecture}`` in Debian's words, ``${machine}`` in the kernel's."""
    return {"architecture": architecture, "machine": _MACHINES.get(architecture, architecture)}


def values_in(text: Text, *places: Where) -> dict[str, str]:
    """The values that stand at some places; of one name the last counts. What is no text is left out."""
    found: dict[str, str] = {}
    for place in places:
        said = text.at((*place, VALUES))
        if isinstance(said, dict):
            found |= {name: value for name, value in said.items() if isinstance(value, str)}
    return found


def fill_in(said: Any, values: Mapping[str, str], where: Where = ()) -> Any:
    """What is said, with every value in its place: as it is, and in a regular expression for what it is."""
    if isinstance(said, str):
        if "${" not in said:
            return said
        escape = re.escape if _is_pattern(where) else str
        return _PLACE.sub(lambda found: escape(values[found[1]]) if found[1] in values else found[0], said)
    if isinstance(said, dict):
        return {k: v if k == VALUES else fill_in(v, values, (*where, k)) for k, v in said.items()}
    if isinstance(said, tuple):
        return tuple(fill_in(item, values, (*where, place)) for place, item in enumerate(said))
    return said


def misspelt(text: Text, known: Iterable[str]) -> Iterator[Problem]:
    """Names in ``${…}`` that are nearly those of values."""
    names = list(known)
    for where, said in _texts(text.document.data, ()):
        if "files" in where or "command" in where:  # they have variables of their own
            continue
        for found in _PLACE.finditer(said):
            close = difflib.get_close_matches(found[1], names, n=1, cutoff=0.75)
            if found[1] not in names and close:
                yield text.problem(where, f"no value is called '{found[1]}', did you mean '{close[0]}'?")


def taken(text: Text, *places: Where) -> Iterator[Problem]:
    """Values that are called as those which every recipe has, and those that name others."""
    known = {**built_in(""), **values_in(text, *places)}
    for place in places:
        for name, value in values_in(text, place).items():
            named = [found for found in _PLACE.findall(value) if found in known]
            if named:
                message = f"values.{name}: a value can't be made of another: write out what {named[0]} is"
                yield text.problem((*place, VALUES, name), message)
            if name in built_in(""):
                message = f"every recipe has the value '{name}', the machine's: choose another name"
                yield text.problem((*place, VALUES, name), message, key=True)


def _is_pattern(where: Where) -> bool:
    return "tests" in where and (where[-1] == "pattern" or where[-2] in ("output", "varies"))


def _texts(said: Any, where: Where) -> Iterator[tuple[Where, str]]:
    if isinstance(said, str) and "${" in said:
        yield where, said
    inner = said.items() if isinstance(said, dict) else enumerate(said) if isinstance(said, tuple) else ()
    for key, value in inner:
        yield from _texts(value, (*where, key))
