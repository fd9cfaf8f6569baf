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
    text = _decode(content, MAX_BYTES * scale)
    try:
        _refuse_tricks(text, MAX_NODES * scale)
        root = yaml.compose(text, Loader=_LOADER)
    except yaml.YAMLError as error:
        raise Malformed(*_explain(error, text)) from None
    if root is None:
        raise Malformed(1, 1, "the file is empty")
    if not isinstance(root, yaml.MappingNode):
        raise Malformed(*_place(root), "expected 'key: value' lines")
    document = Document()
    document.data = _value(root, (), document)
    return document


def _decode(content: bytes, limit: int) -> str:
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


def _refuse_tricks(text: str, most: int) -> None:
    """Walk the events, which cannot recurse, before nodes are made of them."""
    depth = documents = 0
    for nodes, event in enumerate(yaml.parse(text, Loader=_LOADER), 1):
        mark: Any = event.start_mark
        line, column = mark.line + 1, mark.column + 1
        if nodes > most:
            raise Malformed(line, column, f"more than {most} values in one file")
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise Malformed(line, column, "anchors and aliases are not supported: write the value out")
        tag = getattr(event, "tag", None)
        if tag is not None and tag != "!":
            raise Malformed(
                line, column, f"tags are not supported: remove '{shorten(tag.replace(_TAGS, '!!'))}'"
            )
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise Malformed(line, column, f"nested deeper than {MAX_DEPTH} levels")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise Malformed(line, column, "a second document begins: one file, one document")


def _value(node: yaml.Node, path: Path, document: Document) -> Any:
    document.values[path] = _place(node)
    if isinstance(node, yaml.MappingNode):
        return dict(_pairs(node, path, document))
    if isinstance(node, yaml.SequenceNode):
        return tuple(_value(item, (*path, index), document) for index, item in enumerate(node.value))
    assert isinstance(node, yaml.ScalarNode)
    return _scalar(node, path, document)


def _pairs(node: yaml.MappingNode, path: Path, document: Document) -> Iterator[tuple[str, Any]]:
    for key, value in node.value:
        line, column = _place(key)
        if not isinstance(key, yaml.ScalarNode):
            document.defects.append((line, column, "a key must be a word, not a list or a mapping"))
            continue
        name: str = key.value
        inner = (*path, name)
        if inner in document.keys:
            first = document.keys[inner][0]
            message = f"duplicate key '{shorten(name)}': first given in line {first}"
            document.defects.append((line, column, message))
            continue
        document.keys[inner] = (line, column)
        yield name, _value(value, inner, document)


def _scalar(node: yaml.ScalarNode, path: Path, document: Document) -> Any:
    if node.style or node.tag == _TEXT or len(node.value) > MAX_NUMBER:  # quoted and block text have a style
        return node.value
    document.raw[path] = node.value
    loader = yaml.SafeLoader("")
    try:
        value = loader.construct_object(node)
    except (ValueError, OverflowError, yaml.YAMLError):
        return node.value  # such as the 31st of February
    finally:
        loader.dispose()
    if ":" in node.value and isinstance(value, (int, float)):
        del document.raw[path]  # YAML 1.1 counts 1:30 in sixties; nobody else does
        return node.value
    return value


def _place(node: yaml.Node) -> Place:
    return node.start_mark.line + 1, node.start_mark.column + 1


def _explain(error: yaml.YAMLError, text: str) -> Defect:
    problem = f"{getattr(error, 'problem', None) or getattr(error, 'reason', None) or 'cannot be read'}"
    said = " ".join(f"{problem} {getattr(error, 'context', None) or ''}".split())
    advice = next((words for beginning, words in _ADVICE if beginning in said), "")
    mark, opened = getattr(error, "problem_mark", None), getattr(error, "context_mark", None)
    if opened and _OPENED.search(said):
        mark = opened
    if mark is None:
        return 1, 1, f"not valid YAML: {said}"
    if "cannot start any token" in said:
        found = text[mark.index : mark.index + 1]
        advice = f"'{shorten(found)}' cannot begin a value: put the whole value in quotes"
        if found == "\t":
            advice = "a tab: indent with spaces"
    return mark.line + 1, mark.column + 1, f"not valid YAML: {advice or said}"


def shorten(text: str, width: int = 80) -> str:
    """``text`` fit for one line of a message: unprintable characters escaped, long ends cut."""
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text[: width + 1])
    return shown if len(shown) <= width else shown[: width - 3] + "..."
