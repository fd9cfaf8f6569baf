"""The text of install.sh: blocks in their order, each with the place that it is from."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from imagefactory.importing.drafting.words import word
from imagefactory.importing.inert import inert

_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
_CHANGES = re.compile(r"(cd|export|set|unset|umask|source|\.)(\s|$)|[A-Za-z_]\w*=\S*$")
_FAIL = """\
fail() {
    echo "install.sh: $*" >&2
    exit 1
}
"""
_NEED = """\
# need NAME: stops where a source is not declared yet; its comment in recipe.yaml says how.
need() {
    [ -e "/sources/$1" ] || fail "recipe.yaml does not declare the source '$1' yet: its comment says how"
}
"""


@dataclass(frozen=True, slots=True)
class Note:
    """A comment: one line, whatever its text holds."""

    text: str

    def __str__(self) -> str:
        return f"# {inert(self.text)}".rstrip()


@dataclass(frozen=True, slots=True)
class Halt:
    """A command that ends the installation with a message."""

    place: str
    why: str

    def __str__(self) -> str:
        message = " ".join(inert(f"{self.place}: {self.why}".replace("'", "")).split())
        return f"fail {shlex.quote(message)}"


Line = str | Note | Halt
"""A line of install.sh. A command stands as it is; comments and messages hold texts of others: no ``str``."""


def notes(text: str) -> list[Line]:
    """A text of several lines as comments, further to the right."""
    return [Note(f"    {line}") for line in text.split("\n")]


@dataclass(slots=True)
class Block:
    """Commands that ran together."""

    lines: list[Line]
    title: str = ""
    only: str = ""
    apart: bool = False


@dataclass(slots=True)
class Setting:
    """A variable that gets a value here, and may have had another."""

    name: str
    value: str
    only: str = ""
    building: bool = False


@dataclass(slots=True)
class Script:
    """What install.sh does."""

    items: list[Block | Setting] = field(default_factory=list)
    in_folder: bool = False

    def add(self, lines: list[Line], title: str = "", only: str = "", *, run: bool = False) -> None:
        """Commands. Those that ``run`` are in a shell of their own where they change what follows."""
        if run and not self.in_folder and any(not isinstance(line, Note) for line in lines):
            self.enter("/")
        apart = run and any(isinstance(line, str) and _CHANGES.match(line) for line in lines)
        self.items.append(Block(lines, title, only, apart))

    def enter(self, folder: str, title: str = "", only: str = "") -> None:
        """Go on in another folder, which is made where it is not there."""
        self.in_folder = True
        made: list[Line] = [] if folder == "/" else [f"mkdir -p {word(folder)}"]
        self.items.append(Block([*made, f"cd {word(folder)}"], title, only))

    def give(self, name: str, value: str, only: str = "", *, building: bool = False) -> None:
        """A variable; it is written only where the recipe's environment does not do."""
        self.items.append(Setting(name, value, only, building))

    def text(self, heading: Iterable[str], moved: Callable[[str], str]) -> str:
        """The whole script, with a comment before it. ``moved`` puts folders where they are here."""
        changing = self._changing()
        body: list[str] = []
        for item in _together(self.items):
            if isinstance(item, Setting):
                if item.building or item.name in changing:
                    body += _for_machine([f"export {item.name}={word(item.value)}"], item.only)
            else:
                body += _block(item)
        text = moved("\n".join(body))
        functions = (_FAIL if re.search(r"^\s*(fail|need) ", text, re.MULTILINE) else "") + (
            _NEED if re.search(r"^\s*need ", text, re.MULTILINE) else ""
        )
        empty = "# The packages in recipe.yaml are all that there is to install.\n" if not body else ""
        above = "".join(f"{Note(line)}\n" for line in heading)
        return f"#!/bin/sh\n{above}set -e\n\n{functions}{empty}{text}\n".replace("\n\n\n", "\n\n")

    def _changing(self) -> set[str]:
        said: dict[str, set[str]] = {}
        for item in self.items:
            if isinstance(item, Setting) and not item.building:
                said.setdefault(item.name, set()).add(item.value)
        return {name for name, values in said.items() if len(values) > 1}


_NO_EFFECT = re.compile(r"(echo [^>|&`]*|(export )?[A-Za-z_]\w*=\S*|cd [^;&|]*)")


def _has_no_effect(line: Line) -> bool:
    return isinstance(line, Note) or (isinstance(line, str) and bool(_NO_EFFECT.fullmatch(line)))


def _together(items: list[Block | Setting]) -> list[Block | Setting]:
    """Without what has no effect; and what both kinds of machine do alike, once."""
    found: list[Block | Setting] = []
    for item in items:
        if isinstance(item, Block) and item.apart and all(map(_has_no_effect, item.lines)):
            continue
        last = found[-1] if found else None
        if isinstance(item, Block) and isinstance(last, Block) and _same(item, last):
            last.only = ""
            continue
        found.append(item)
    return found


def _same(one: Block, other: Block) -> bool:
    """Whether two kinds of machine do the same."""
    said = (one.lines, one.title) == (other.lines, other.title)
    return said and {one.only, other.only} == set(_MACHINES)


def _block(block: Block) -> list[str]:
    lines = [line for each in block.lines for line in _indented(str(each), 4 if block.apart else 0)]
    if block.apart:
        lines = ["(", *lines, ")"]
    title = [str(Note(block.title))] if block.title else []
    return ["", *title, *_for_machine(lines, block.only)] if title else _for_machine(lines, block.only)


def _for_machine(lines: list[str], only: str) -> list[str]:
    if not only:
        return lines
    inner = [line for each in lines for line in _indented(each, 4)]
    if not any(line.strip() and not line.strip().startswith("#") for line in inner):
        return lines
    return [f'if [ "$(uname -m)" = {_MACHINES[only]} ]; then', *inner, "fi"]


def _indented(text: str, by: int) -> list[str]:
    """Lines further to the right, but not where that would change texts in quotes, or documents."""
    lines = text.split("\n")
    if len(lines) > 1 and ("<<" in text or re.search(r"'[^']*\n[^']*'|\"[^\"]*\n[^\"]*\"", text)):
        return [" " * by + lines[0], *lines[1:]] if "<<" not in text else ["", *lines]
    return [" " * by + line if line else line for line in lines]
