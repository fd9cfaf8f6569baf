"""Text to plain values, each with its place in the text.

Stricter than YAML: no duplicate keys, no anchors, no tags, one document, bounded size and depth.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

MAX_BYTES = 1 << 20
MAX_DEPTH = 30
MAX_NODES = 50_000

Path = tuple[str | int, ...]
Place = tuple[int, int]  # line and column, from 1

_LOADER: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TEXT = "tag:yaml.org,2002:str"


class Malformed(Exception):
    """The text is not the YAML we take: every defect found, as line, column and message."""

    def __init__(self, *defects: tuple[int, int, str]) -> None:
        super().__init__(defects)
        self.defects = defects


@dataclass
class Document:
    """Plain values (dict, tuple, str, int, float, bool, None), and where each of them stands.

    ``values`` maps a path of keys and indices to the place of the value there, ``keys`` to the
    place of its key; ``raw`` holds the text of each plain (unquoted) scalar that YAML did not read
    as text.
    """

    data: Any = None
    values: dict[Path, Place] = field(default_factory=dict)
    keys: dict[Path, Place] = field(default_factory=dict)
    raw: dict[Path, str] = field(default_factory=dict)

    def place(self, path: Path) -> Place:
        """Where the value at ``path`` stands, or what comes nearest above it."""
        while path and path not in self.values:
            path = path[:-1]
        return self.values.get(path, (1, 1))


def parse(content: bytes) -> Document:
    """Read one YAML document. Raises Malformed with everything that is wrong with it."""
    text = _decode(content)
    try:
        _refuse_tricks(text)
        root = yaml.compose(text, Loader=_LOADER)
    except yaml.YAMLError as error:
        raise Malformed(_explain(error)) from None
    if root is None:
        raise Malformed((1, 1, "the file is empty"))
    document = Document()
    defects: list[tuple[int, int, str]] = []
    document.data = _value(root, (), document, defects)
    if defects:
        raise Malformed(*defects)
    return document


def _decode(content: bytes) -> str:
    if len(content) > MAX_BYTES:
        raise Malformed((1, 1, f"the file is larger than {MAX_BYTES >> 20} MiB"))
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        column = error.start - (content.rfind(b"\n", 0, error.start) + 1) + 1
        raise Malformed((line, column, "not a text file: this byte is not UTF-8")) from None
    return text.removeprefix("\ufeff")


def _refuse_tricks(text: str) -> None:
    """Walk the events, which cannot recurse, before nodes are made of them."""
    depth = documents = 0
    for nodes, event in enumerate(yaml.parse(text, Loader=_LOADER), 1):
        mark: Any = event.start_mark
        line, column = mark.line + 1, mark.column + 1
        if nodes > MAX_NODES:
            raise Malformed((line, column, f"more than {MAX_NODES} values in one file"))
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise Malformed((line, column, "anchors and aliases are not supported: write the value out"))
        tag = getattr(event, "tag", None)
        if tag is not None and tag != "!":
            raise Malformed((line, column, f"tags are not supported: remove '{shorten(tag)}'"))
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise Malformed((line, column, f"nested deeper than {MAX_DEPTH} levels"))
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise Malformed((line, column, "a second document begins: one file, one document"))


def _value(node: yaml.Node, path: Path, document: Document, defects: list[tuple[int, int, str]]) -> Any:
    document.values[path] = _place(node)
    if isinstance(node, yaml.MappingNode):
        return dict(_pairs(node, path, document, defects))
    if isinstance(node, yaml.SequenceNode):
        return tuple(_value(item, (*path, index), document, defects) for index, item in enumerate(node.value))
    assert isinstance(node, yaml.ScalarNode)
    return _scalar(node, path, document)


def _pairs(
    node: yaml.MappingNode, path: Path, document: Document, defects: list[tuple[int, int, str]]
) -> Iterator[tuple[str, Any]]:
    for key, value in node.value:
        line, column = _place(key)
        if not isinstance(key, yaml.ScalarNode):
            defects.append((line, column, "a key must be a word, not a list or a mapping"))
            continue
        name: str = key.value
        inner = (*path, name)
        if inner in document.keys:
            first = document.keys[inner][0]
            defects.append((line, column, f"duplicate key '{shorten(name)}': first given in line {first}"))
            continue
        document.keys[inner] = (line, column)
        yield name, _value(value, inner, document, defects)


def _scalar(node: yaml.ScalarNode, path: Path, document: Document) -> Any:
    if node.style or node.tag == _TEXT:  # quoted and block text have a style
        return node.value
    document.raw[path] = node.value
    loader = yaml.SafeLoader("")
    try:
        value = loader.construct_object(node)
    except (ValueError, OverflowError, yaml.YAMLError):
        return node.value  # such as the 31st of February
    finally:
        loader.dispose()
    return value


def _place(node: yaml.Node) -> Place:
    return node.start_mark.line + 1, node.start_mark.column + 1


def _explain(error: yaml.YAMLError) -> tuple[int, int, str]:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "cannot be read"
    context = getattr(error, "context", None)
    if "cannot start any token" in str(problem) and "\\t" in repr(problem):
        problem = "a tab: indent with spaces"
    words = f"{problem} {context}" if context else f"{problem}"
    return line, column, f"not valid YAML: {' '.join(words.split())}"


def shorten(text: str, width: int = 80) -> str:
    """``text`` fit for one line of a message: unprintable characters escaped, long ends cut."""
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text[: width + 1])
    return shown if len(shown) <= width else shown[: width - 3] + "..."
