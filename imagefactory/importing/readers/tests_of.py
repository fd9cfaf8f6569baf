"""Tests of neurocontainers: in ``build.yaml``, and in ``test.yaml`` and ``fulltest.yaml`` beside it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from imagefactory.errors import BadFiles
from imagefactory.importing.readers.beside import Unavailable, read_beside
from imagefactory.importing.steps import Action, Foreign, ForeignTest, Nothing
from imagefactory.system.templates import Unfillable
from imagefactory.yamlfiles import Text, read_leniently

_BESIDE = ("test.yaml", "fulltest.yaml")
_FILES = re.compile(r"\$\{(output_dir|[a-z0-9_]+)\}")


Fill = Callable[[Any], str]
"""Fills the templates of a text in; raises Unfillable."""


def test_of(said: Any, place: str, fill: Fill) -> Action:
    """One test as ``build.yaml`` has it: a script, or one that their builder brings."""
    if not isinstance(said, dict):
        return Foreign(kind="test", place=place, text=str(said), why="it is no test")
    name = _or_as_it_is(fill, said.get("name")) or "test"
    if said.get("builtin"):
        return Nothing(kind="test", place=place, why="the contract test 'commands' finds what is deployed")
    why_not = ""
    if said.get("manual") is True:
        why_not = "it is to be run by hand"
    elif said.get("prep"):
        why_not = "it is prepared in another image"
    try:
        script = fill(said.get("script"))
    except Unfillable as error:
        return ForeignTest(kind="test", place=place, name=name, why_not=str(error))
    return ForeignTest(kind="test", place=place, name=name, script=script, why_not=why_not)


def _or_as_it_is(fill: Fill, text: Any) -> str:
    try:
        return fill(text)
    except Unfillable:
        return str(text)


def tests_beside(text: Text, folder: Path, fill: Fill) -> Iterator[Action]:
    """The tests below ``tests`` in the recipe, and those in files beside it."""
    yield from _tests(text, "", fill)
    for file in _BESIDE:
        try:
            content, _ = read_beside(folder, file)
            yield from _tests(read_leniently(content, file), f"{file} ", fill)
        except Unavailable:
            continue
        except BadFiles as error:
            yield Foreign(kind=file, place=file, text="", why=str(error.problems[0]))


def _tests(text: Text, prefix: str, fill: Fill) -> Iterator[Action]:
    data = text.document.data
    tests = data.get("tests") if isinstance(data, dict) else None
    known = {name: value for name, value in data.items() if isinstance(value, str)}
    data_of = data.get("test_data")
    if isinstance(data_of, dict):
        known |= {name: value for name, value in data_of.items() if isinstance(value, str)}
    known["output_dir"] = "."

    for index, said in enumerate(tests if isinstance(tests, tuple) else ()):
        place = f"{prefix}line {text.document.place(('tests', index))[0]}"
        if isinstance(said, dict) and "command" in said and "script" not in said:
            yield _full_test(said, place, known, fill)
        else:
            yield test_of(said, place, fill)


def _full_test(said: dict[str, Any], place: str, known: dict[str, str], fill: Fill) -> Action:
    """One of ``fulltest.yaml``: a command, what it prints, and the files that it writes."""
    kind, name = "full test", _or_as_it_is(fill, said.get("name")) or "test"

    def filled(text: object) -> str:
        return _FILES.sub(lambda found: known.get(found[1], found[0]), fill(text))

    try:
        return _filled_test(said, place, name, filled)
    except Unfillable as error:
        script = str(said["command"])
        return ForeignTest(kind=kind, place=place, name=name, script=script, full=True, why_not=str(error))


def _filled_test(said: dict[str, Any], place: str, name: str, filled: Fill) -> Action:

    expected = said.get("expected_output_contains")
    texts = expected if isinstance(expected, tuple) else () if expected is None else (expected,)
    files, others = list[str](), list[str]()
    for check in said.get("validate") or () if isinstance(said.get("validate"), tuple) else ():
        for key, value in check.items() if isinstance(check, dict) else ():
            (files.append(filled(value).removeprefix("./")) if key == "output_exists" else others.append(key))
    code = said.get("expected_exit_code")
    status = int(code) if isinstance(code, str) and code.isdecimal() and int(code) < 256 else 0
    why_not = ""
    if said.get("depends_on"):
        why_not = "it needs what other tests leave: each test of ours begins with an empty folder"
    elif others:
        why_not = f"it expects {', '.join(others)}"
    return ForeignTest(
        kind="full test",
        place=place,
        name=name,
        script=filled(said["command"]),
        expected=tuple(map(filled, texts)),
        status=status,
        files=tuple(files),
        full=True,
        why_not=why_not,
    )
