"""Command lines of neurodocker, kept in a file: ``neurodocker generate docker --base-image …``."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from imagefactory.errors import BadFiles, Problem
from imagefactory.importing.readers.instructions import Instruction, described
from imagefactory.importing.steps import Described

_ENDS = frozenset((">", ">>", "|", "&&", ";", "&", "2>", "||"))
_SWITCHES = ("--yes", "--no-print", "--json", "--version", "--help")
_SETTINGS = ("--template-path", "--output", "-o")
_SHORT = {"-b": "--base-image", "-p": "--pkg-manager", "-r": "--run", "-i": "--install", "-u": "--user"}


def read_words(text: str, file: Path) -> Described:
    """The first such command of a text. Raises BadFiles where there is none, or a quote does not end."""
    words = _words(text, file)
    start = next((at for at, (word, _) in enumerate(words) if word == "generate"), None)
    if start is None or len(words) < start + 3:
        message = "there is no 'neurodocker generate docker' with options"
        raise BadFiles([Problem(str(file), 1, 1, message)])
    manager, instructions = "apt", list[Instruction]()
    for option, given, line in _options(words[start + 2 :]):
        if option == "--pkg-manager":
            manager = given[0] if given else manager
        elif option not in _SWITCHES and option not in _SETTINGS:
            instructions.append(_instruction(option, given, f"line {line}"))
    return described(instructions, manager, file, "neurodocker")


def _words(text: str, file: Path) -> list[tuple[str, int]]:
    """Each word with its line."""
    lexer = shlex.shlex(text, posix=True, punctuation_chars="|&;<>")
    lexer.whitespace_split = True
    found: list[tuple[str, int]] = []
    try:
        while (word := lexer.get_token()) is not None:
            found.append((word, lexer.lineno))
    except ValueError:
        line = found[-1][1] if found else 1
        message = "a quotation mark after this is not closed"
        raise BadFiles([Problem(str(file), line, 1, message)]) from None
    return [(word, line) for word, line in found if word != "\n"]


def _options(words: list[tuple[str, int]]) -> Iterator[tuple[str, list[str], int]]:
    """Each option with its words, up to the end of the command."""
    current: tuple[str, list[str], int] | None = None
    for word, line in words:
        if word in _ENDS or word.startswith(">"):
            break
        name, sign, value = word.partition("=")
        if word.startswith("--") or word in _SHORT:
            if current:
                yield current
            current = (_SHORT.get(name, name), [value] if sign else [], line)
        elif current:
            current[1].append(word)
    if current:
        yield current


def _instruction(option: str, given: list[str], place: str) -> Instruction:
    name = option.removeprefix("--").replace("-", "_")
    kwds: dict[str, Any]
    if name in ("base_image", "base", "from"):
        name, kwds = "from_", {"": given[0] if given else ""}
    elif name in ("run", "run_bash"):
        kwds = {"command": " ".join(given)}
    elif name == "install":
        kwds = {"pkgs": [word for word in given if not word.startswith("opts=")]}
    elif name in ("copy", "add", "entrypoint", "cmd", "volume", "expose", "shell", "add_to_entrypoint"):
        kwds = {"": given}
    elif name in ("user", "workdir"):
        kwds = {"": given[0] if given else ""}
    else:
        kwds = dict(_pair(word) for word in given)
    return Instruction(name, kwds, place)


def _pair(word: str) -> tuple[str, str]:
    key, sign, value = word.partition("=")
    return (key, value) if sign else ("version", key)
