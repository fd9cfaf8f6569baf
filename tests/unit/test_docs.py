"""What the documentation says: its links lead somewhere, and its commands are there."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from imagefactory.cli.main import cli
from tests.conftest import REPOSITORY

PAGES = [
    *(REPOSITORY / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted((REPOSITORY / "docs").rglob("*.md")),
]
COMMANDS = (REPOSITORY / "docs" / "reference" / "commands.md").read_text(encoding="utf-8")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_OUTSIDE = re.compile(r"[a-z]+:")
_FENCE = re.compile(r"^```\w*\n(.*?)^```", re.MULTILINE | re.DOTALL)


def named(page: Path) -> str:
    return str(page.relative_to(REPOSITORY))


def lines_of(page: Path) -> Iterator[tuple[str, str]]:
    """Each line, with where it is."""
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        yield f"{named(page)}:{number}", line


def anchors(page: Path) -> set[str]:
    """The names of its headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for where, line in lines_of(page):
        for link in _LINK.findall(line):
            path, _, anchor = link.partition("#")
            target = (page.parent / path).resolve() if path else page
            if _OUTSIDE.match(link):
                continue
            if not target.exists():
                broken.append(f"{where}: {link} is not there")
            elif anchor and anchor not in anchors(target):
                broken.append(f"{where}: {path or named(page)} has no heading {anchor}")
    assert broken == []


def all_commands() -> dict[str, click.Command]:
    """Every command by its words, those of groups with their group's."""
    commands: dict[str, click.Command] = {}
    for name, command in cli.commands.items():
        inner = command.commands if isinstance(command, click.Group) else {"": command}
        commands.update({f"{name} {part}".strip(): each for part, each in inner.items()})
    return commands


def options(command: click.Command) -> set[str]:
    """Its long options."""
    given = (word for param in command.params if isinstance(param, click.Option) for word in param.opts)
    return {word for word in given if word.startswith("--")}


def test_every_command_and_option_is_described() -> None:
    rows = re.findall(r"^\| `([a-z ]+)`[^|]*\|([^|]*)\|$", COMMANDS, re.MULTILINE)
    described = {name: set(re.findall(r"--[a-z-]+", text)) for name, text in rows}
    assert described == {name: options(command) for name, command in all_commands().items()}


def shell_lines(page: Path) -> Iterator[str]:
    """The lines of its fenced blocks that a person types; those that are carried on, whole."""
    for block in _FENCE.findall(page.read_text(encoding="utf-8")):
        for line in block.replace("\\\n", " ").splitlines():
            words = line.strip().removeprefix("$ ").removeprefix(".venv/bin/")
            if words.startswith(("imagefactory ", "make ")) and not re.search(r"[…|<>]", words):
                yield re.sub(r"\s+#.*", "", words)


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_what_people_are_told_to_type_is_there(page: Path) -> None:
    wrong = [line for line in shell_lines(page) if not understood(line)]
    assert wrong == [], named(page)


def understood(line: str) -> bool:
    """Whether there is such a command, with such options."""
    program, *words = shlex.split(line)
    if program == "make":
        return all("=" in word or is_made(word) for word in words)
    command: click.Command | None = cli
    if words[:1] == ["--root"]:
        words = words[2:]
    while isinstance(command, click.Group) and words:
        command, words = command.commands.get(words[0]), words[1:]
    try:
        return command is not None and bool(command.make_parser(click.Context(command)).parse_args(words))
    except click.ClickException:
        return False


def is_made(target: str) -> bool:
    """Whether the Makefile has that target, or a pattern for it."""
    rules = re.findall(
        r"^([\w% -]+):(?!=)", (REPOSITORY / "Makefile").read_text(encoding="utf-8"), re.MULTILINE
    )
    names = {name for rule in rules for name in rule.split()}
    patterns = tuple(name.removesuffix("%") for name in names if name.endswith("%"))
    return target in names or target.startswith(patterns)


def test_a_line_that_is_wrong_is_noticed() -> None:
    assert understood("imagefactory build app --format sif")
    assert understood("imagefactory store prune --unused-for 3")
    assert understood("make build-app ARGS=--json")
    for wrong in (
        "imagefactory biuld app",
        "imagefactory build --fast app",
        "make biuld",
        "imagefactory store x",
    ):
        assert not understood(wrong), wrong
