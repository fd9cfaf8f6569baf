"""Instructions of neurodocker, from its JSON or its command line, to steps.

The format: https://www.repronim.org/neurodocker/user_guide/cli.html and reproenv's specifications.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from imagefactory.importing.fits import file_of, source_name, unused
from imagefactory.importing.readers.beside import Unavailable, files_beside, read_beside
from imagefactory.importing.steps import (
    Action,
    Base,
    Copy,
    Declared,
    Described,
    Environment,
    Foreign,
    Nothing,
    Packages,
    Run,
    Start,
    Template,
    User,
    Workdir,
)

_AS_THEY_ARE = {
    "volume": "an image of ours has no volumes: folders are mounted by whoever runs it",
    "expose": "ports are opened by whoever runs it",
    "shell": "commands of install.sh run in sh",
    "add_to_entrypoint": "an image of ours is started by its commands",
}
_OLD_NAMES = {"base": "from_", "base_image": "from_", "cmd": "entrypoint"}


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction: its name, what it is given, and where it stands."""

    name: str
    given: Mapping[str, Any]
    place: str


def described(
    instructions: Iterable[Instruction], manager: str, file: Path, form: str, name: str = ""
) -> Described:
    """All of them as a foreign recipe. Files stand beside ``file``."""
    reader = _Reader(manager, file.absolute().parent)
    steps = [step for instruction in instructions for step in reader.steps(instruction)]
    called = name or (file.stem if file.stem not in ("spec", "neurodocker", "command") else "")
    return Described(
        format=form,
        file=file.name,
        name=called or file.absolute().parent.name,
        version=reader.labels.get("version") or reader.labels.get("org.opencontainers.image.version", ""),
        homepage=reader.labels.get("org.opencontainers.image.url", ""),
        licences=tuple(filter(None, [reader.labels.get("org.opencontainers.image.licenses", "")])),
        summary=reader.labels.get("org.opencontainers.image.description", ""),
        steps=tuple(steps),
    )


class _Reader:
    def __init__(self, manager: str, folder: Path) -> None:
        self.manager = manager
        self.folder = folder
        self.labels: dict[str, str] = {}
        self._sources: set[str] = set()

    def steps(self, one: Instruction) -> Iterator[Action]:
        name = _OLD_NAMES.get(one.name, one.name)
        given, place = one.given, one.place
        if name == "from_":
            yield Base(kind="from", place=place, image=_text(given.get("base_image") or _only(given)))
        elif name == "install":
            packages = tuple(
                word for each in _list(given.get("pkgs") or _only(given)) for word in each.split()
            )
            yield Packages(kind="install", place=place, names=packages, manager=self.manager)
        elif name in ("run", "run_bash"):
            shell = "bash" if name == "run_bash" else "sh"
            command = _text(given.get("command") or _only(given))
            yield Run(kind=name.replace("_", "-"), place=place, lines=(command,), shell=shell)
        elif name in ("env", "arg"):
            pairs = _pairs(given)
            yield Environment(kind=name, place=place, pairs=pairs, building=name == "arg")
        elif name in ("copy", "add"):
            yield from self._copy(name, given, place)
        elif name == "workdir":
            yield Workdir(kind=name, place=place, path=_text(given.get("path") or _only(given)) or "/")
        elif name == "user":
            yield User(kind=name, place=place, name=_text(given.get("user") or _only(given)))
        elif name in ("entrypoint", "cmd"):
            words = _list(given.get("args") or _only(given))
            yield Start(kind=name, place=place, words=tuple(w for word in words for w in _split(word)))
        elif name == "label":
            self.labels |= dict(_pairs(given))
            yield Nothing(kind=name, place=place, why="labels follow from the recipe")
        elif name in _AS_THEY_ARE:
            shown = " ".join(_list(_only(given)))
            yield Foreign(kind=name, place=place, text=shown, why=_AS_THEY_ARE[name], about=True)
        else:
            options = tuple((key, _text(value)) for key, value in given.items())
            yield Template(kind=f"template {name}", place=place, name=name, options=options)

    def _copy(self, kind: str, given: Mapping[str, Any], place: str) -> Iterator[Action]:
        sources, target = _list(given.get("source")), _text(given.get("destination"))
        if not sources or not target:
            words = _list(_only(given))
            sources, target = words[:-1], words[-1] if words else ""
        if not sources or not target:
            yield Foreign(kind=kind, place=place, text=str(given), why="it names no file, or no place")
            return
        copy = Copy(kind=kind, place=place, sources=tuple(sources), target=target)
        yield from copied(copy, self.folder, self._sources)


def copied(copy: Copy, folder: Path, taken: set[str], sha256: str = "") -> Iterator[Action]:
    """Files of a folder, each declared, and the step that copies them; an address is a source."""
    place = copy.place
    for each in copy.sources:
        if "://" in each:
            name = unused(source_name(file_of(each)), taken)
            taken.add(name)
            yield Declared(kind="file", place=place, name=each, url=each, source=name, sha256=sha256)
            continue
        try:
            for name in files_beside(folder, each.rstrip("/")):
                yield _declared(folder, name, place)
        except Unavailable as error:
            yield Declared(kind="file", place=place, name=_clean(each), why_not=str(error))
    yield replace(copy, sources=tuple(map(_clean, copy.sources)))


def _declared(folder: Path, name: str, place: str) -> Declared:
    try:
        data, runs = read_beside(folder, name)
    except Unavailable as error:
        link = "a link, and " if (folder / name).is_symlink() else ""
        return Declared(kind="file", place=place, name=_clean(name), why_not=f"{link}{error}")
    return Declared(kind="file", place=place, name=_clean(name), content=data, executable=runs)


def _clean(name: str) -> str:
    return name if "://" in name else name.removeprefix("./").strip("/") or "."


def _only(given: Mapping[str, Any]) -> Any:
    """What is given where there are no words for it."""
    return given.get("", "")


def _text(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return " ".join(map(_text, value))
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def _list(value: Any) -> list[str]:
    if isinstance(value, (list, tuple)):
        return [_text(each) for each in value]
    return [] if value in (None, "") else [_text(value)]


def _pairs(given: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    if set(given) == {"key", "value"}:
        return ((_text(given["key"]), _text(given["value"])),)
    return tuple((key, _text(value)) for key, value in given.items())


def _split(word: str) -> list[str]:
    try:
        return shlex.split(word)
    except ValueError:
        return [word]
