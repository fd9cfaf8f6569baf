"""Files of other programs: what YAML allows and ours do not (anchors, merged keys, tags), to plain values.

Numbers and dates stay the text that stands there: ``1.10`` is a version.
"""

from __future__ import annotations

from typing import Any

import yaml

from imagefactory.errors import BadFiles, Problem
from imagefactory.yamlfiles.load import Text
from imagefactory.yamlfiles.parse import MAX_BYTES, MAX_DEPTH, Document, Malformed, Path, decode, explain

_LOADER: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_SCALE = 8  # pictures stand in such files
_MOST = 200_000  # values, each use of an anchor counted
_NOTHING, _TRUTH = "tag:yaml.org,2002:null", "tag:yaml.org,2002:bool"
_MERGE = "tag:yaml.org,2002:merge"


def read_leniently(content: bytes, shown: str) -> Text:
    """The values of a YAML file, a mapping, with their places. Raises BadFiles where it can't be read."""
    try:
        text = decode(content, MAX_BYTES * _SCALE)
        try:
            root = yaml.compose(text, Loader=_LOADER)
        except yaml.YAMLError as error:
            raise Malformed(*explain(error, text)) from None
        except RecursionError:
            raise Malformed(1, 1, f"nested deeper than {MAX_DEPTH} levels") from None
        if not isinstance(root, yaml.MappingNode):
            raise Malformed(1, 1, "expected 'key: value' lines" if root else "the file is empty")
        return Text(shown, _Reader().read(root))
    except Malformed as error:
        raise BadFiles([Problem(shown, *error.defect)]) from None


class _Reader:
    """Makes a document of nodes; aliases are written out, as often as is bounded."""

    def __init__(self) -> None:
        self._nodes = 0
        self._document = Document()

    def read(self, root: yaml.MappingNode) -> Document:
        self._document.data = self._value(root, (), 1)
        return self._document

    def _value(self, node: yaml.Node, path: Path, depth: int) -> Any:
        self._nodes += 1
        line, column = node.start_mark.line + 1, node.start_mark.column + 1
        if self._nodes > _MOST:
            raise Malformed(line, column, f"more than {_MOST} values in one file")
        if depth > MAX_DEPTH:
            raise Malformed(line, column, f"nested deeper than {MAX_DEPTH} levels")
        self._document.values[path] = (line, column)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path, depth + 1)
        if isinstance(node, yaml.SequenceNode):
            return tuple(
                self._value(item, (*path, index), depth + 1) for index, item in enumerate(node.value)
            )
        return _scalar(node) if isinstance(node, yaml.ScalarNode) else None

    def _mapping(self, node: yaml.MappingNode, path: Path, depth: int) -> dict[str, Any]:
        own: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key, value in node.value:
            if key.tag == _MERGE:
                several = value.value if isinstance(value, yaml.SequenceNode) else [value]
                for each in several:
                    if isinstance(each, yaml.MappingNode):
                        merged = {**self._value(each, path, depth), **merged}
            elif isinstance(key, yaml.ScalarNode):
                self._document.keys.setdefault((*path, key.value), (_line(key), key.start_mark.column + 1))
                own[key.value] = self._value(value, (*path, key.value), depth)
        return {**merged, **own}


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _scalar(node: yaml.ScalarNode) -> str | bool | None:
    text = str(node.value)
    if node.tag == _NOTHING:
        return None
    if node.tag == _TRUTH and text.lower() in ("true", "false"):
        return text.lower() == "true"
    return text
