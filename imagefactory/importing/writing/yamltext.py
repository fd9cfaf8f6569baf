"""Lines of YAML with comments, for people to go on with."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterable, Mapping

from imagefactory.importing.inert import inert

_PLAIN = re.compile(
    r"--?[A-Za-z][A-Za-z0-9_-]*|[A-Za-z/][A-Za-z0-9 ._/+@*-]*(?<! )|https?://[A-Za-z0-9._~:/?&()+,;=%$-]+(?<!:)"
)
_OTHERWISE = re.compile(r"(?i)(y|n|yes|no|true|false|on|off|null|~)|.*[ ]#.*")
_WIDTH = 110


def scalar(value: str | bool | int) -> str:
    """A value as YAML has it; in quotes unless it is plain beyond doubt."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if _PLAIN.fullmatch(value) and not _OTHERWISE.fullmatch(value):
        return value
    if "\\" in value and "'" not in value and value.isprintable():
        return f"'{value}'"
    return json.dumps(value, ensure_ascii=False)


class Lines:
    """Collects lines; nested parts are given as other Lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def comment(self, text: str) -> None:
        """One comment, in as many lines as it needs; one that is indented stays a line."""
        text = inert(text, 10_000)
        lines = [text]
        if not text.startswith(" "):
            lines = textwrap.wrap(text, _WIDTH - 2, break_long_words=False, break_on_hyphens=False) or [""]
        self.lines += [f"# {line}".rstrip() for line in lines]

    def inactive(self, lines: Iterable[str]) -> None:
        """Lines of YAML as comments, each by itself."""
        self.lines += [f"# {inert(line, 10_000)}".rstrip() for line in lines]

    def comments(self, texts: Iterable[str]) -> None:
        """Several."""
        for text in texts:
            self.comment(text)

    def pair(self, key: str, value: str | bool | int, note: str = "") -> None:
        """``key: value``, with a comment behind it."""
        self.lines.append(f"{_key(key)}: {scalar(value)}{_behind(note)}")

    def sequence(self, key: str, values: Mapping[str, str] | Iterable[str]) -> None:
        """A list, each item in a line of its own, with its comment."""
        items = values if isinstance(values, Mapping) else dict.fromkeys(values, "")
        self.lines.append(f"{_key(key)}:")
        self.lines += [f"  - {scalar(item)}{_behind(note)}" for item, note in items.items()]

    def flow(self, key: str, values: Iterable[str]) -> None:
        """A short list in one line."""
        self.lines.append(f"{_key(key)}: [{', '.join(_flow(value) for value in values)}]")

    def mapping(self, key: str, values: Mapping[str, str]) -> None:
        """Keys and texts."""
        self.lines.append(f"{_key(key)}:")
        self.lines += [f"  {_key(name)}: {scalar(value)}" for name, value in values.items()]

    def block(self, key: str, text: str) -> None:
        """A text of several lines, as it is."""
        sign = "|" if text.endswith("\n") else "|-"
        self.lines.append(f"{_key(key)}: {sign}")
        self.lines += [f"  {line}" if line else "" for line in text.removesuffix("\n").split("\n")]

    def nested(self, key: str, inner: Lines) -> None:
        """What stands below a key; nothing where there is nothing but comments."""
        if any(line and not line.lstrip().startswith("#") for line in inner.lines):
            self.lines.append(f"{_key(key)}:")
            self.lines += [f"  {line}" if line else "" for line in inner.lines]
        elif inner.lines:
            self.lines.append(f"# {_key(key)}:")
            self.lines += [f"#   {line.removeprefix('# ')}".rstrip() for line in inner.lines]

    def item(self, inner: Lines) -> None:
        """One item of a list: a mapping."""
        marked = False
        for line in inner.lines:
            if line.startswith("#") and not marked:
                self.lines.append(f"  {line}")
            else:
                self.lines.append(f"{'    ' if marked else '  - '}{line}" if line else "")
                marked = True

    def blank(self) -> None:
        """An empty line, unless there is one."""
        if self.lines and self.lines[-1]:
            self.lines.append("")

    def text(self) -> str:
        """All of it."""
        return "\n".join(self.lines).rstrip("\n") + "\n"


def _behind(note: str) -> str:
    return f"  # {inert(note)}" if note else ""


def _key(key: str) -> str:
    plain = re.fullmatch(r"[A-Za-z_./][A-Za-z0-9_.+/-]*", key) and not _OTHERWISE.fullmatch(key)
    return key if plain else json.dumps(key, ensure_ascii=False)


def _flow(value: str) -> str:
    shown = scalar(value)
    return (
        shown
        if not re.search(r"[\[\]{},:?*&]", shown) or shown[0] in "\"'"
        else json.dumps(value, ensure_ascii=False)
    )


def can_be_block(text: str) -> bool:
    """Whether a text may stand as a block, line for line."""
    first = next((line for line in text.split("\n") if line), "")
    good = all(line.replace("\t", "").isprintable() for line in text.split("\n"))
    ends = text.rstrip("\n")
    return good and bool(ends) and not first.startswith((" ", "\t")) and text in (ends, f"{ends}\n")
