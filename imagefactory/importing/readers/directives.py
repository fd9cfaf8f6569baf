"""Directives of neurocontainers to steps, for one kind of machine."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from imagefactory.errors import BadFiles
from imagefactory.importing.fits import fits, name_of_source, source_path, unused
from imagefactory.importing.readers.beside import Unavailable, macro_places, read_beside
from imagefactory.importing.readers.filling import Filler
from imagefactory.importing.readers.instructions import copied
from imagefactory.importing.readers.tests_of import test_of
from imagefactory.importing.steps import (
    Action,
    Base,
    Copy,
    Declared,
    Deploy,
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
from imagefactory.model.fields import Sha256
from imagefactory.system.templates import Unfillable
from imagefactory.yamlfiles import Text, read_leniently

_MOST_INCLUDES = 5
_KINDS = (
    *(
        "install",
        "run",
        "workdir",
        "user",
        "entrypoint",
        "environment",
        "template",
        "copy",
        "group",
        "include",
    ),
    *("file", "variables", "test", "deploy", "boutique", "boutiques"),
)
_STOPS = ("run", "copy", "template", "environment", "install", "workdir")
"""What an installation lacks where it can't be filled in."""
Where = tuple[str | int, ...]


class Expander:
    """Goes through a recipe's directives; groups, macros and conditions are gone in what it gives."""

    def __init__(self, text: Text, folder: Path, filler: Filler) -> None:
        self.text = text
        self.folder = folder
        self.filler = filler
        filler.get_file = self._get_file
        self._files: dict[str, str] = {}
        self._sources: set[str] = set()
        self._manager = "apt"
        self._depth = 0

    def steps(self) -> Iterator[Action]:
        """All steps of the recipe."""
        data = self.text.document.data
        build = data["build"]
        image = self._try(build.get("base-image"), {})
        self._manager = self._try(build.get("pkg-manager"), {}) or "apt"
        yield Base(kind="base-image", place=self._place(("build", "base-image")), image=image or "scratch")
        for index, file in enumerate(_list(data.get("files"))):
            yield from self._safely(self._file, file, {}, ("files", index), "file")
        if isinstance(deploy := data.get("deploy"), dict):
            yield from self._safely(self._deploy, deploy, {}, ("deploy",), "deploy")
        yield from self._all(build.get("directives"), {}, ("build", "directives"))

    def _all(self, directives: Any, local: dict[str, Any], where: Where) -> Iterator[Action]:
        for index, directive in enumerate(_list(directives)):
            here = (*where, index)
            if not isinstance(directive, dict):
                if directive is not None:
                    yield self._foreign("directive", here, directive, "it is no directive")
                continue
            kind = next((kind for kind in _KINDS if kind in directive), "")
            try:
                if "condition" in directive and not self.filler.holds(directive["condition"], local):
                    continue
            except Unfillable as error:
                yield self._foreign(
                    kind or "directive", here, directive, f"its condition: {error}", stops=True
                )
                continue
            yield from self._one(kind, directive, local, here)

    def _one(
        self, kind: str, directive: dict[str, Any], local: dict[str, Any], where: Where
    ) -> Iterator[Action]:
        if kind == "group":
            yield from self._group(directive, local, where)
        elif kind == "include":
            yield from self._include(directive, local, where)
        elif kind == "variables":
            yield from self._variables(directive["variables"], local, where)
        elif kind in ("boutique", "boutiques"):
            why = "descriptors of Boutiques are not made here"
            yield Foreign(kind=kind, place=self._place(where), text="", why=why, about=True)
        elif kind:
            handle = getattr(self, f"_{kind}")
            yield from self._safely(handle, directive[kind], local, where, kind)
        else:
            names = ", ".join(key for key in directive if key not in ("condition", "custom", "customParams"))
            if names:
                yield self._foreign(names, where, directive, "such a directive is not known")

    def _safely(
        self, handle: Any, said: Any, local: dict[str, Any], where: Where, kind: str
    ) -> Iterator[Action]:
        """What a handler gives; where it can't fill something in, that as it stands."""
        try:
            yield from list(handle(said, local, self._place(where)))
        except Unfillable as error:
            yield self._foreign(kind, where, said, str(error), stops=kind in _STOPS)

    def _group(self, directive: dict[str, Any], local: dict[str, Any], where: Where) -> Iterator[Action]:
        inner = dict(local)
        yield from self._variables(directive.get("with"), inner, (*where, "with"))
        yield from self._all(directive["group"], inner, (*where, "group"))

    def _variables(self, said: Any, local: dict[str, Any], where: Where) -> Iterator[Action]:
        for name, value in said.items() if isinstance(said, dict) else ():
            try:
                local[name] = self.filler.fill(value, local)
            except Unfillable as error:
                yield self._foreign("variables", where, {name: value}, str(error))

    def _include(self, directive: dict[str, Any], local: dict[str, Any], where: Where) -> Iterator[Action]:
        try:
            found = self._find_macro(self.filler.fill(directive["include"], local))
        except Unfillable as error:
            yield self._foreign("include", where, directive, str(error), stops=True)
            return
        inner, outer = dict(local), self.text
        yield from self._variables(directive.get("with"), inner, (*where, "with"))
        self._depth += 1
        self.text = found
        try:
            yield from self._all(found.document.data.get("directives"), inner, ("directives",))
        finally:
            self.text = outer
            self._depth -= 1

    def _find_macro(self, name: str) -> Text:
        """A macro by its name. Raises Unfillable where there is none, or where it can't be read."""
        if self._depth >= _MOST_INCLUDES:
            raise Unfillable(f"macros include each other more than {_MOST_INCLUDES} deep")
        for folder, each in macro_places(self.folder, name):
            try:
                content, _ = read_beside(folder, each)
            except Unavailable:
                continue
            shown = name if folder == self.folder or folder.name != "macros" else f"macros/{each}"
            try:
                found = read_leniently(content, shown)
            except BadFiles as error:
                raise Unfillable(f"the macro {error.problems[0]}") from None
            if not isinstance(found.document.data.get("directives"), tuple):
                raise Unfillable(f"the macro {shown} has no list of 'directives'")
            return found
        raise Unfillable(f"the macro {name} is not there: import from a checkout of neurocontainers")

    def _install(self, said: Any, local: Mapping[str, Any], place: str) -> Iterator[Action]:
        filled = [self.filler.fill(each, local, named=True) for each in _list(said)]
        names = tuple(name for text in filled for name in re.sub(r"(^|\s)#.*", "", text).split())
        if names:
            yield Packages(kind="install", place=place, names=names, manager=self._manager)

    def _run(self, said: Any, local: Mapping[str, Any], place: str) -> Iterator[Action]:
        lines = tuple(self.filler.fill(each, local, named=True) for each in _list(said))
        yield Run(kind="run", place=place, lines=lines)

    def _workdir(self, said: Any, local: Mapping[str, Any], place: str) -> Iterator[Action]:
        yield Workdir(kind="workdir", place=place, path=self.filler.fill(said, local, named=True) or "/")

    def _user(self, said: Any, local: Mapping[str, Any], place: str) -> Iterator[Action]:
        yield User(kind="user", place=place, name=self.filler.fill(said, local))

    def _entrypoint(self, said: Any, local: Mapping[str, Any], place: str) -> Iterator[Action]:
        filled = [self.filler.fill(each, local) for each in _list(said)]
        words = tuple(filled) if len(filled) > 1 else tuple(filled[0].split()) if filled else ()
        yield Start(kind="entrypoint", place=place, words=words)

    def _environment(self, said: Any, local: Mapping[str, Any], place: str) -> Iterator[Action]:
        if not isinstance(said, dict):
            why = "it holds no variables"
            yield Foreign(kind="environment", place=place, text=_shown(said or ""), why=why, stops=bool(said))
            return
        pairs = tuple(
            (self.filler.fill(key, local), self.filler.fill(value, local, named=True))
            for key, value in said.items()
        )
        yield Environment(kind="environment", place=place, pairs=pairs)

    def _template(self, said: Any, local: Mapping[str, Any], place: str) -> Iterator[Action]:
        if not isinstance(said, dict) or not said.get("name"):
            raise Unfillable("it names no template")
        options = {key: _flat(value) for key, value in said.items() if key != "name"}
        filled = tuple((key, self.filler.fill(value, local)) for key, value in options.items())
        name = self.filler.fill(said["name"], local)
        yield Template(kind=f"template {name}", place=place, name=name, options=filled)

    def _copy(self, said: Any, local: Mapping[str, Any], place: str) -> Iterator[Action]:
        plain, named = (
            [self.filler.fill(each, local, named=named) for each in _list(said)] for named in (False, True)
        )
        if isinstance(said, str):
            plain, named = plain[0].split(), named[0].split()
        if len(plain) < 2:
            raise Unfillable("a copy needs a file and a place")
        words = [*plain[:-1], named[-1]]
        copy = Copy(kind="copy", place=place, sources=tuple(words[:-1]), target=words[-1])
        beside = tuple(name for name in copy.sources if self._is_beside(name))
        files = copied(replace(copy, sources=beside), self.folder, self._sources)
        yield from (step for step in files if isinstance(step, Declared))
        yield copy

    def _is_beside(self, name: str) -> bool:
        """Whether a file is taken from beside the recipe: it is there, and none is declared by its name."""
        try:
            return name not in self._files and "://" not in name and (self.folder / name).exists()
        except OSError:
            return False

    def _file(self, said: Any, local: Mapping[str, Any], place: str) -> Iterator[Action]:
        if not isinstance(said, dict) or not said.get("name"):
            raise Unfillable("a file needs a name")
        if "condition" in said and not self.filler.holds(said["condition"], dict(local)):
            return
        name, kind = self.filler.fill(said["name"], local), "file"
        executable = said.get("executable") is True
        address = said.get("url") or (said["filename"] if "://" in str(said.get("filename")) else "")
        if address:
            url = self.filler.fill(address, local, named=True)
            real = self.filler.fill(address, local)
            source = unused(name_of_source(real, name), self._sources)
            self._sources.add(source)
            self._files[name] = source_path(source, real)
            pin = self.filler.fill(said.get("sha256"), local).lower()
            sha256 = pin if fits(Sha256, pin) else ""
            yield Declared(kind=kind, place=place, name=name, url=url, source=source, sha256=sha256)
            return
        self._files[name] = f"/recipe/files/{name.removeprefix('./')}"
        if "contents" in said:
            content = self.filler.fill(said["contents"], local).encode("utf-8", "replace")
            yield Declared(kind=kind, place=place, name=name, content=content, executable=executable)
            return
        try:
            file = self.filler.fill(said.get("filename") or name, local)
            data, runs = read_beside(self.folder, file)
            yield Declared(kind=kind, place=place, name=name, content=data, executable=executable or runs)
        except Unavailable as error:
            yield Declared(
                kind=kind, place=place, name=name, why_not=str(error) if file == name else f"{file}: {error}"
            )

    def _get_file(self, name: str) -> str:
        if name not in self._files:
            raise Unfillable(f"no file is called {name}")
        return self._files[name]

    def _test(self, said: Any, local: Mapping[str, Any], place: str) -> Iterator[Action]:
        yield test_of(said, place, lambda text: self.filler.fill(text, local))

    def _deploy(self, said: Any, local: Mapping[str, Any], place: str) -> Iterator[Action]:
        if not isinstance(said, dict):
            yield Nothing(kind="deploy", place=place, why="it is empty")
            return
        path = tuple(self.filler.fill(each, local, named=True) for each in _list(said.get("path")))
        bins = tuple(self.filler.fill(each, local, named=True) for each in _list(said.get("bins")))
        yield Deploy(
            kind="deploy", place=place, path=tuple(filter(None, path)), commands=tuple(filter(None, bins))
        )
        if said.get("webapp"):
            yield Foreign(
                kind="webapp",
                place=place,
                text="",
                why="web applications are started by their command",
                about=True,
            )

    def _try(self, text: Any, local: Mapping[str, Any]) -> str:
        try:
            return self.filler.fill(text, local)
        except Unfillable:
            return ""

    def _place(self, where: Where) -> str:
        line = f"line {self.text.document.place(where)[0]}"
        return f"{self.text.path} {line}" if self._depth else line

    def _foreign(self, kind: str, where: Where, said: Any, why: str, *, stops: bool = False) -> Foreign:
        return Foreign(kind=kind, place=self._place(where), text=_shown(said), why=why, stops=stops)


def _flat(value: Any) -> Any:
    return " ".join(map(str, value)) if isinstance(value, tuple) else value


def _shown(said: Any, indent: str = "") -> str:
    """What was said, as lines for a comment."""
    if isinstance(said, dict):
        return "\n".join(
            f"{indent}{key}: {_shown(value, indent + '  ').lstrip()}" for key, value in said.items()
        )
    if isinstance(said, tuple):
        return "\n".join(["", *(f"{indent}- {_shown(each, indent + '  ').lstrip()}" for each in said)])
    return f"{indent}{said}"


def _list(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else () if value is None else (value,)
