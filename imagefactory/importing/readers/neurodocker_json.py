"""Specifications of neurodocker and reproenv in JSON: ``pkg_manager`` and a list of ``instructions``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from imagefactory.errors import BadFiles, Problem
from imagefactory.importing.readers.instructions import Instruction, described
from imagefactory.importing.steps import Described


def read_json(text: str, file: Path) -> Described:
    """A specification. Raises BadFiles for what is none."""

    def wrong(message: str, line: int = 1, column: int = 1) -> BadFiles:
        return BadFiles([Problem(str(file), line, column, message)])

    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise wrong(f"not JSON: {error.msg}", error.lineno, error.colno) from None
    except RecursionError:
        raise wrong("nested too deep") from None
    if not isinstance(data, dict) or not isinstance(data.get("instructions"), list):
        raise wrong("there is no list of 'instructions': is this a specification of neurodocker?")
    manager = data.get("pkg_manager")
    instructions = list(_instructions(data["instructions"]))
    if not instructions:
        raise wrong("its list of 'instructions' is empty")
    return described(instructions, manager if isinstance(manager, str) else "apt", file, "neurodocker")


def _given(said: Any) -> dict[str, Any]:
    """What the older form gives: words by name, pairs, or a list."""
    if isinstance(said, list) and said and all(isinstance(pair, list) and len(pair) == 2 for pair in said):
        return {str(name): value for name, value in said}
    return said if isinstance(said, dict) else {"": said}


def _instructions(said: list[Any]) -> Iterator[Instruction]:
    """Each as ``{name, kwds}``, or in the older form ``[name, given]``."""
    for number, each in enumerate(said, 1):
        place = f"instruction {number}"
        if isinstance(each, dict) and isinstance(each.get("name"), str):
            given = each.get("kwds")
            yield Instruction(each["name"], given if isinstance(given, dict) else {"": given}, place)
        elif isinstance(each, list) and len(each) == 2 and isinstance(each[0], str):
            yield Instruction(each[0], _given(each[1]), place)
        else:
            yield Instruction("unknown", {"text": json.dumps(each)[:200]}, place)
