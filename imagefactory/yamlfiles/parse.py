"""Text to plain values, each with its place in the text.

Stricter than YAML: no duplicate keys, no anchors, no tags, one document, bounded size and depth.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

MAX_BYTES = 1 << 20
MAX_DEPTH = 30
MAX_NODES = 50_000
MAX_NUMBER = 50  # characters

Path = tuple[str | int, ...]
Place = tuple[int, int]  # line and column, from 1
Defect = tuple[int, int, str]

_LOADER: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAGS = "tag:yaml.org,2002:"
_TEXT = f"{_TAGS}str"
_WHOLE_NUMBER = f"{_TAGS}int"
_DECIMAL = re.compile(r"0|[1-9][0-9]*")
_UNREADABLE = re.compile(r"[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

_ADVICE = (
    ("mapping values are not allowed", "': ' inside a value: put the whole value in quotes"),
    ("block sequence entries are not allowed", "a list begins on a line of its own"),
    ("scanning an alias", "'*' at the beginning of a value: put the whole value in quotes"),
    ("scanning an anchor", "'&' at the beginning of a value: put the whole value in quotes"),
    ("unknown escape character", "no such escape in double quotes: use single quotes"),
    ("tab character", "a tab: indent with spaces"),
    ("parsing a flow sequence", "the '[' here is not closed, or a comma is missing in it"),
    ("parsing a flow mapping", "the '{' here is not closed, or a comma is missing in it"),
    ("end of stream while scanning a quoted", "the quotation mark here is not closed"),
    ("expected key while parsing a block", "no key begins here: check indentation, brackets and quotes"),
    ("expected '-' indicator", "no '- ' begins here: check the indentation"),
    ("expected node content", "a value or a closing bracket is missing here"),
    ("could not find expected ':'", "no ': ' comes after this key"),
)
"""What the parser says, or begins to say, and what it means to the person who wrote the file."""

_OPENED = re.compile(r"end of stream while scanning a quoted|(a flow \w+|an alias|an anchor|a simple key)$")
"""What is found where it begins, not where the parser gave up."""


class Malformed(Exception):
    """The text is not the YAML we take: line, column and message of what is wrong."""

    def __init__(self, line: int, column: int, message: str) -> None:
        super().__init__(line, column, message)
        self.defect: Defect = (line, column, message)


@dataclass
class Document:
    """Plain values (dict, tuple, str, int, float, bool, None), and where each of them stands.

    ``values`` maps a path of keys and indices to the place of the value there, ``keys`` to the
    place of its key; ``raw`` holds the text of each plain (unquoted) scalar that YAML did not read
    as text. ``defects`` are those that did not stop the reading.
    """

    data: Any = None
    values: dict[Path, Place] = field(default_factory=dict)
    keys: dict[Path, Place] = field(default_factory=dict)
    raw: dict[Path, str] = field(default_factory=dict)
    defects: list[Defect] = field(default_factory=list)

    def place(self, path: Path) -> Place:
        """Where the value at ``path`` stands, or what comes nearest above it."""
        while path and path not in self.values:
            path = path[:-1]
        return self.values.get(path, (1, 1))


def parse(content: bytes, scale: int = 1) -> Document:
    """Read one YAML document, a mapping. Raises Malformed where it cannot be read to its end.

    ``scale`` multiplies how much a file may hold: those that programs write are larger.
    """
    text = decode(content, MAX_BYTES * scale)
    try:
        return _Reader(yaml.parse(text, Loader=_LOADER), MAX_NODES * scale).read()
    except yaml.YAMLError as error:
        raise Malformed(*explain(error, text)) from None


def decode(content: bytes, limit: int) -> str:
    """A file's text. Raises Malformed where it is not one."""
    if len(content) > limit:
        raise Malformed(1, 1, f"the file is larger than {limit >> 20} MiB")
    try:
        text = content.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8").removeprefix("\ufeff")
        raise Malformed(*_end(before), "not a text file: this byte is not UTF-8") from None
    unreadable = _UNREADABLE.search(text)
    if unreadable:
        code = f"U+{ord(unreadable[0]):04X}"
        raise Malformed(*_end(text[: unreadable.start()]), f"not a text file: it holds the character {code}")
    return text


def _end(text: str) -> Place:
    """The place right after ``text``."""
    return text.count("\n") + 1, len(text) - (text.rfind("\n") + 1) + 1


class _Reader:
    """Makes one document of YAML's events, in one pass; how deep it recurses is bounded."""

    def __init__(self, events: Iterator[yaml.Event], most: int) -> None:
        self._events = events
        self._most = most
        self._nodes = 0
        self._document = Document()

    def read(self) -> Document:
        """The document. Raises Malformed for what no file may hold."""
        root: yaml.Event | None = None
        documents = 0
        while not isinstance(event := self._next(), yaml.StreamEndEvent):
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise Malformed(*_place(event), "a second document begins: one file, one document")
                root = self._next()
                self._document.data = self._value(root, (), 1)
        if root is None:
            raise Malformed(1, 1, "the file is empty")
        if not isinstance(root, yaml.MappingStartEvent):
            raise Malformed(*_place(root), "expected 'key: value' lines")
        return self._document

    def _next(self) -> yaml.Event:
        """The next event, unless it plays tricks."""
        event = next(self._events)
        self._nodes += 1
        if self._nodes > self._most:
            raise Malformed(*_place(event), f"more than {self._most} values in one file")
        if isinstance(event, yaml.NodeEvent):
            if event.anchor:  # an alias has one, too
                raise Malformed(*_place(event), "anchors and aliases are not supported: write the value out")
            tag: str | None = getattr(event, "tag", None)
            if tag is not None and tag != "!":
                shown = shorten(tag.replace(_TAGS, "!!"))
                raise Malformed(*_place(event), f"tags are not supported: remove '{shown}'")
        return event

    def _value(self, event: yaml.Event, path: Path | None, depth: int) -> Any:
        """A value, from its first event to its last. One without a path is read over."""
        if path is not None:
            self._document.values[path] = _place(event)
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event, path)
        if depth > MAX_DEPTH:
            raise Malformed(*_place(event), f"nested deeper than {MAX_DEPTH} levels")
        if isinstance(event, yaml.MappingStartEvent):
            return dict(self._pairs(path, depth + 1))
        items: list[Any] = []
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            inner = None if path is None else (*path, len(items))
            items.append(self._value(event, inner, depth + 1))
        return tuple(items)

    def _pairs(self, path: Path | None, depth: int) -> Iterator[tuple[str, Any]]:
        while not isinstance(key := self._next(), yaml.MappingEndEvent):
            inner = self._key(key, path, depth)
            value = self._value(self._next(), inner, depth)
            if inner is not None:
                yield str(inner[-1]), value

    def _key(self, event: yaml.Event, path: Path | None, depth: int) -> Path | None:
        """The path of a key's value; None where there is no such place, or no second one."""
        place = _place(event)
        if not isinstance(event, yaml.ScalarEvent):
            if path is not None:
                self._document.defects.append((*place, "a key must be a word, not a list or a mapping"))
            self._value(event, None, depth)
            return None
        if path is None:
            return None
        inner = (*path, event.value)
        if inner in self._document.keys:
            first = self._document.keys[inner][0]
            message = f"duplicate key '{shorten(event.value)}': first given in line {first}"
            self._document.defects.append((*place, message))
            return None
        self._document.keys[inner] = place
        return inner

    def _scalar(self, event: yaml.ScalarEvent, path: Path | None) -> Any:
        value: str = event.value
        # Quoted and block text have a style.
        if event.style or not event.implicit[0] or len(value) > MAX_NUMBER or path is None:
            return value
        tag = _tag_of(value)
        if tag == _TEXT:
            return value
        self._document.raw[path] = value
        if tag == _WHOLE_NUMBER and _DECIMAL.fullmatch(value):
            return int(value)
        loader = yaml.SafeLoader("")
        try:
            resolved = loader.construct_object(yaml.ScalarNode(tag, value))
        except (ValueError, OverflowError, yaml.YAMLError):
            return value  # such as the 31st of February
        finally:
            loader.dispose()
        if ":" in value and isinstance(resolved, (int, float)):
            del self._document.raw[path]  # YAML 1.1 counts 1:30 in sixties; nobody else does
            return value
        return resolved


def _tag_of(value: str) -> str:
    """What YAML 1.1 takes plain text for, by the resolvers of the safe loader."""
    resolvers = yaml.SafeLoader.yaml_implicit_resolvers
    for tag, pattern in (*resolvers.get(value[:1], ()), *resolvers.get(None, ())):
        if pattern.match(value):
            return str(tag)
    return _TEXT


def _place(event: yaml.Event) -> Place:
    mark: Any = event.start_mark
    return mark.line + 1, mark.column + 1


def explain(error: yaml.YAMLError, text: str) -> Defect:
    """Where the parser gave up, and why, in words."""
    problem = f"{getattr(error, 'problem', None) or getattr(error, 'reason', None) or 'cannot be read'}"
    said = " ".join(f"{problem} {getattr(error, 'context', None) or ''}".split())
    advice = next((words for beginning, words in _ADVICE if beginning in said), "")
    mark, opened = getattr(error, "problem_mark", None), getattr(error, "context_mark", None)
    if opened and _OPENED.search(said):
        mark = opened
    if mark is None:
        return 1, 1, f"not valid YAML: {said}"
    if "cannot start any token" in said:
        character = text[mark.index : mark.index + 1]
        advice = f"'{shorten(character)}' cannot begin a value: put the whole value in quotes"
        if character == "\t":
            advice = "a tab: indent with spaces"
    return mark.line + 1, mark.column + 1, f"not valid YAML: {advice or said}"


def shorten(text: str, width: int = 80) -> str:
    """``text`` fit for one line of a message: unprintable characters escaped, long ends cut."""
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text[: width + 1])
    return shown if len(shown) <= width else shown[: width - 3] + "..."
