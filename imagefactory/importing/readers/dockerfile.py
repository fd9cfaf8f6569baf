"""Dockerfiles, the plain ones: https://docs.docker.com/reference/dockerfile/.

Of several stages only the last is translated, for it is the image.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from imagefactory.errors import BadFiles, Problem
from imagefactory.importing.commands.shell import expand
from imagefactory.importing.fits import fits
from imagefactory.importing.readers.dockerfile_words import (
    continued,
    escape_of,
    flat,
    for_shell,
    word_of,
    words_of,
)
from imagefactory.importing.readers.instructions import copied
from imagefactory.importing.steps import (
    DOLLAR,
    Action,
    Base,
    Copy,
    Described,
    Environment,
    Foreign,
    Nothing,
    Run,
    Start,
    User,
    Workdir,
)
from imagefactory.model.fields import Sha256

_KEYWORDS = (
    *("FROM", "RUN", "ENV", "ARG", "COPY", "ADD", "WORKDIR", "USER", "LABEL", "ENTRYPOINT", "CMD", "EXPOSE"),
    *("VOLUME", "SHELL", "STOPSIGNAL", "HEALTHCHECK", "ONBUILD", "MAINTAINER"),
)
_FIRST = re.compile(r"([^\s\\]*)(?:\s|\\\n)*(.*)", re.DOTALL)
_HEREDOC = re.compile(r"<<-?\s*(['\"]?)([A-Za-z_]\w*)\1")
_FLAGS = ("chmod", "chown", "checksum", "link")
_WHY_NOT = {
    "EXPOSE": "ports are opened by whoever runs it",
    "VOLUME": "an image of ours has no volumes: folders are mounted by whoever runs it",
    "HEALTHCHECK": "smoke tests say whether it works",
    "STOPSIGNAL": "it is of services, not of commands",
    "ONBUILD": "it is of images that are made on this one",
}


@dataclass(frozen=True, slots=True)
class _Line:
    keyword: str
    rest: str
    number: int
    documents: tuple[str, ...] = ()


def read_dockerfile(text: str, file: Path) -> Described:
    """A Dockerfile; what it copies stands beside it. Raises BadFiles with the line of what is none."""
    lines = list(_lines(text, file))
    starts = [at for at, line in enumerate(lines) if line.keyword == "FROM"]
    if not starts:
        raise BadFiles([Problem(str(file), 1, 1, "there is no FROM: is this a Dockerfile?")])
    reader = _Reader(file.absolute().parent, escape_of(text.split("\n")))
    steps = [step for line in lines[: starts[0]] for step in reader.steps(line)]
    if len(starts) > 1:
        other = lines[starts[0] : starts[-1]]
        shown = "\n".join(f"{line.keyword} {line.rest}" for line in other)
        why = "its other stages: what they make belongs under 'build', or is copied by hand"
        steps.append(Foreign(kind="stage", place=f"line {other[0].number}", text=shown, why=why, stops=True))
    steps += [step for line in lines[starts[-1] :] for step in reader.steps(line)]
    labels = reader.labels
    return Described(
        format="Dockerfile",
        file=file.name,
        name=labels.get("org.opencontainers.image.title") or file.absolute().parent.name,
        title=labels.get("org.opencontainers.image.title", ""),
        version=labels.get("org.opencontainers.image.version") or labels.get("version", ""),
        summary=labels.get("org.opencontainers.image.description") or labels.get("description", ""),
        homepage=labels.get("org.opencontainers.image.url")
        or labels.get("org.opencontainers.image.source", ""),
        licences=tuple(filter(None, [labels.get("org.opencontainers.image.licenses", "")])),
        steps=tuple(steps),
    )


def _lines(text: str, file: Path) -> Iterator[_Line]:
    """The instructions: comments gone, continued lines joined, documents read."""
    raw = text.replace("\r\n", "\n").split("\n")
    escape = escape_of(raw)
    at = 0
    while at < len(raw):
        number, parts = at + 1, list[str]()
        while at < len(raw):
            line = raw[at]
            at += 1
            if re.match(r"\s*#", line) or (parts and not line.strip()):
                continue
            more = continued(line, escape)
            parts.append(line if more is None else more)
            if more is None:
                break
        joined = "\n".join(parts).strip()
        if not joined:
            continue
        keyword, rest = _FIRST.fullmatch(joined).groups()  # type: ignore[union-attr]  # it fits any text
        if keyword.upper() not in _KEYWORDS:
            message = f"no instruction of a Dockerfile begins with '{keyword[:40]}'"
            raise BadFiles([Problem(str(file), number, 1, message)])
        documents: list[str] = []
        if keyword.upper() in ("RUN", "COPY", "ADD"):
            for found in _HEREDOC.finditer(rest):
                at, document = _document(raw, at, found[2])
                documents.append(document)
        yield _Line(keyword.upper(), rest.strip(), number, tuple(documents))


def _document(raw: list[str], at: int, end: str) -> tuple[int, str]:
    lines: list[str] = []
    while at < len(raw):
        line = raw[at]
        at += 1
        if line.lstrip("\t") == end:
            break
        lines.append(line)
    return at, "\n".join(lines)


class _Reader:
    def __init__(self, folder: Path, escape: str) -> None:
        self.folder = folder
        self.escape = escape
        self.labels: dict[str, str] = {}
        self.known: dict[str, str] = {}
        self.shell = "sh"
        self.options: tuple[str, ...] = ()
        self.started = False
        self._sources: set[str] = set()

    def steps(self, line: _Line) -> Iterator[Action]:
        kind, place, rest = line.keyword, f"line {line.number}", flat(line.rest)
        if kind == "FROM":
            words = [word for word in rest.split() if not word.startswith("--")]
            yield Base(kind=kind, place=place, image=expand(words[0], self.known) if words else "scratch")
        elif kind == "RUN":
            yield from self._run(line, place)
        elif kind == "ENV":
            pairs = tuple(_pairs(rest, self.escape))
            self.known |= {name: expand(value, self.known) for name, value in pairs}
            yield Environment(kind=kind, place=place, pairs=pairs)
        elif kind == "ARG":
            yield from self._argument(rest, place)
        elif kind in ("COPY", "ADD"):
            yield from self._copy(line, place)
        elif kind == "WORKDIR":
            yield Workdir(kind=kind, place=place, path=expand(word_of(rest, self.escape), self.known))
        elif kind == "USER":
            yield User(kind=kind, place=place, name=expand(rest, self.known).partition(":")[0])
        elif kind in ("LABEL", "MAINTAINER"):
            self.labels |= (
                {
                    name: expand(value, self.known).replace(DOLLAR, "$")
                    for name, value in _pairs(rest, self.escape)
                }
                if kind == "LABEL"
                else {}
            )
            yield Nothing(kind=kind, place=place, why="labels follow from the recipe")
        elif kind == "CMD" and self.started:
            yield Nothing(kind=kind, place=place, why="these are words for the entry point")
        elif kind in ("ENTRYPOINT", "CMD"):
            self.started = True
            yield Start(kind=kind, place=place, words=tuple(_exec(rest)))
        elif kind == "SHELL":
            yield self._choose(_exec(rest), place)
        else:
            yield Foreign(kind=kind, place=place, text=line.rest, why=_WHY_NOT[kind], about=True)

    def _choose(self, words: list[str], place: str) -> Action:
        """The shell of the commands that follow, with its options; -e is on in any case."""
        name = words[0].rpartition("/")[2] if words else ""
        self.shell = "bash" if any(word.rpartition("/")[2] == "bash" for word in words) else "sh"
        given = [*words[1:-1], *(re.sub(r"^-(\w*)c$", r"-\1", word) for word in words[1:][-1:])]
        options = tuple(word for word in given if word not in ("-", "-e"))
        self.options = options if name == "bash" else ()
        if name == "bash" or (name in ("sh", "dash", "ash") and not options):
            return Nothing(kind="SHELL", place=place, why="what runs in bash says so")
        why = f"the commands that follow run in {self.shell} without options, not in this shell"
        shown = shlex.join(words)
        return Foreign(kind="SHELL", place=place, text=shown, why=f"{why}: {shown}", partly=True)

    def _run(self, line: _Line, place: str) -> Iterator[Action]:
        rest = re.sub(r"^(--\S+\s+(\\\n\s*)?)+", "", line.rest)
        if line.documents and _HEREDOC.match(rest):
            head = _HEREDOC.sub("", rest).strip()
            bash = "bash" in head or "bash" in line.documents[0].split("\n")[0]
            shell, options = ("bash", ()) if bash else (self.shell, self.options)
            lines = tuple(doc for doc in line.documents)
            yield Run(kind="RUN", place=place, lines=lines, shell=shell, options=options)
            return
        if rest.startswith("["):
            words = _exec(flat(rest))
            rest = words[2] if len(words) == 3 and words[1] == "-c" else shlex.join(words)
        else:
            rest = for_shell(rest)
        for document in line.documents:
            end = next(_HEREDOC.finditer(rest))[2]
            rest = f"{rest}\n{document}\n{end}"
        yield Run(kind="RUN", place=place, lines=(rest,), shell=self.shell, options=self.options)

    def _argument(self, rest: str, place: str) -> Iterator[Action]:
        pairs = [pair for pair in _pairs(rest, self.escape) if pair[1]]
        for name, value in pairs:
            self.known[name] = expand(value, self.known)
        if pairs:
            yield Environment(kind="ARG", place=place, pairs=tuple(pairs), building=True)
        elif rest.strip("=") in self.known:
            yield Nothing(kind="ARG", place=place, why="it has a value")
        else:
            why = "it has no value by default: write one under 'values'"
            yield Foreign(kind="ARG", place=place, text=rest, why=why, partly=True)

    def _copy(self, line: _Line, place: str) -> Iterator[Action]:
        rest = flat(line.rest)
        found = re.match(r"((?:--\S+\s+)*)(.*)", rest, re.DOTALL)
        assert found is not None
        rest = found[2]
        flags = dict(flag.removeprefix("--").partition("=")[::2] for flag in found[1].split())
        if line.documents or "from" in flags:
            why = "it copies from another stage" if not line.documents else "its files are written in it"
            yield Foreign(kind=line.keyword, place=place, text=line.rest, why=why, stops=True)
            return
        if others := [flag for flag in flags if flag not in _FLAGS]:
            why = f"it has --{others[0]}, which is not translated"
            yield Foreign(kind=line.keyword, place=place, text=line.rest, why=why, stops=True)
            return
        given = _exec(rest) if rest.startswith("[") else self._words(rest)
        words = [expand(word, self.known) for word in given]
        if len(words) < 2:
            yield Foreign(kind=line.keyword, place=place, text=line.rest, why="it names no file, or no place")
            return
        sources = [name for word in words[:-1] for name in self._matching(word.replace(DOLLAR, "$"))]
        copy = Copy(
            kind=line.keyword,
            place=place,
            sources=tuple(sources),
            target=words[-1],
            mode=expand(flags.get("chmod", ""), self.known),
            owner=flags.get("chown", ""),
        )
        pin = expand(flags.get("checksum", ""), self.known).removeprefix("sha256:").lower()
        yield from copied(copy, self.folder, self._sources, pin if fits(Sha256, pin) else "")

    def _words(self, rest: str) -> list[str]:
        try:
            return words_of(rest, self.escape)
        except ValueError:
            return rest.split()

    def _matching(self, word: str) -> list[str]:
        """A pattern's files; a word that is none is itself."""
        if not set(word) & set("*?[") or ".." in word or "://" in word:
            return [word]
        found = sorted(str(path.relative_to(self.folder)) for path in self.folder.glob(word.strip("/")))
        return found or [word]


def _pairs(rest: str, escape: str) -> Iterator[tuple[str, str]]:
    """``A=b C="d e"``, or the older ``A b``."""
    if not re.match(r"[^\s=]+=", rest):
        name, _, value = rest.partition(" ")
        yield name, word_of(value.strip(), escape)
        return
    try:
        words = words_of(rest, escape)
    except ValueError:
        words = rest.split()
    for word in words:
        name, _, value = word.partition("=")
        yield name, value


def _exec(rest: str) -> list[str]:
    """The words of a list in JSON, or of a command line."""
    try:
        said = json.loads(rest)
        if isinstance(said, list):
            return [str(word) for word in said]
    except ValueError:
        pass
    try:
        return shlex.split(rest)
    except ValueError:
        return rest.split()
