"""What foreign recipes say, in words of our own: a list of steps, whichever format they stood in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

DOLLAR = "\ufdd0"
"""Stands in a value for a dollar sign that begins no variable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One instruction. ``kind`` is what its format calls it, ``place`` where it stands there.

    ``only`` names the kind of machine (``amd64``, ``arm64``) that it is for; empty is all of them.
    """

    kind: str
    place: str
    only: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Base(Action):
    """The image that all begins with."""

    image: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Packages(Action):
    """Packages of the distribution; ``manager`` is apt, yum or the like."""

    names: tuple[str, ...]
    manager: str = "apt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run(Action):
    """Shell commands, in the order in which they run; ``shell`` is sh or bash, with its ``options``."""

    lines: tuple[str, ...]
    shell: str = "sh"
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment(Action):
    """Variables of the image, or (``building``) of its installation alone."""

    pairs: tuple[tuple[str, str], ...]
    building: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Workdir(Action):
    """The folder that what follows runs in."""

    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class User(Action):
    """Whom what follows runs as, and the image."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Start(Action):
    """What the image runs: an entry point, or a command."""

    words: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy(Action):
    """Files beside the foreign recipe, or declared in it, to a place in the image; ``mode`` is chmod's."""

    sources: tuple[str, ...]
    target: str
    mode: str = ""
    owner: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared(Action):
    """A file by name: with its content, or with the address that it is fetched from.

    ``source`` is then the name that it has among the sources, ``sha256`` what pins it. ``why_not`` says why
    it can't be had.
    """

    name: str
    content: bytes | None = None
    executable: bool = False
    url: str = ""
    source: str = ""
    sha256: str = ""
    why_not: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Template(Action):
    """A program that the foreign tool knows how to install."""

    name: str
    options: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Deploy(Action):
    """Folders of commands, and single commands, that users are to have."""

    path: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignTest(Action):
    """A test: a shell script, with what it must print. ``why_not`` says why it can't be run here."""

    name: str
    script: str = ""
    expected: tuple[str, ...] = ()
    status: int = 0
    files: tuple[str, ...] = ()
    full: bool = False
    why_not: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Nothing(Action):
    """What needs no counterpart: why."""

    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreign(Action):
    """What can't be translated: its text, and why. Without it an installation that ``stops`` is not whole.

    ``about`` is what says something of the whole recipe, not of a step of its installation.
    """

    text: str
    why: str
    stops: bool = False
    partly: bool = False
    about: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class GuiProgram:
    """A program with windows: its name in menus, and the command line that starts it."""

    name: str
    command: str


@dataclass(slots=True, kw_only=True)
class Described:
    """A whole foreign recipe."""

    format: str
    file: str
    name: str
    title: str = ""
    version: str = ""
    summary: str = ""
    homepage: str = ""
    licences: tuple[str, ...] = ()
    licence_urls: tuple[str, ...] = ()
    citation: tuple[str, ...] = ()
    topics: tuple[str, ...] = ()
    readme: str = ""
    icon: bytes = b""
    gui: tuple[GuiProgram, ...] = ()
    values: Mapping[str, str] = field(default_factory=dict)
    machines: tuple[Literal["amd64", "arm64"], ...] = ("amd64",)
    steps: tuple[Action, ...] = ()
