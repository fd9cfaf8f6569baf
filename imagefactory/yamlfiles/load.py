"""A file to a model: every defect of one reading becomes one line that a person can act on."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any, Generic, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from imagefactory.errors import BadFiles, Problem
from imagefactory.yamlfiles.parse import Document, Malformed, Path, parse, shorten

Model = TypeVar("Model", bound=BaseModel)

_NOUNS = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
}


@dataclass(frozen=True)
class Loaded(Generic[Model]):
    """A model with its file, so that later checks can point at the lines it came from."""

    model: Model
    path: str
    document: Document

    def problem(self, where: Path, message: str, *, key: bool = False) -> Problem:
        """A defect of the value (or, with ``key``, of the key) at ``where``."""
        places = self.document.keys if key else self.document.values
        line, column = places.get(where) or self.document.place(where)
        return Problem(self.path, line, column, message)


def load(file: FilePath, shown: str, kind: type[Model]) -> Loaded[Model]:
    """Read ``file`` as a ``kind``; ``shown`` is its name in messages.

    Raises BadFiles with all defects.
    """
    try:
        document = parse(file.read_bytes())
        if not isinstance(document.data, dict):
            raise Malformed((1, 1, "expected a mapping of keys and values"))
        return Loaded(kind.model_validate(document.data), shown, document)
    except OSError as error:
        raise BadFiles([Problem(shown, 0, 0, f"cannot be read: {error.strerror}")]) from None
    except Malformed as error:
        raise BadFiles([Problem(shown, *defect) for defect in error.defects]) from None
    except ValidationError as error:
        raise BadFiles([_problem(e, shown, kind, document) for e in error.errors()]) from None


def _problem(error: Mapping[str, Any], shown: str, kind: type[BaseModel], doc: Document) -> Problem:
    where: Path = tuple(part for part in error["loc"] if part != "[key]")
    last = str(where[-1]) if where else ""
    match error["type"]:
        case "extra_forbidden":
            known = _fields_at(kind, where[:-1])
            line, column = doc.keys.get(where, doc.place(where))
            message = f"unknown key '{shorten(last)}'{_suggest(last, known)}"
        case "missing":
            line, column = doc.place(where[:-1])
            message = f"the key '{last}' is missing"
        case _:
            at_key = "[key]" in error["loc"]
            line, column = doc.keys.get(where, (1, 1)) if at_key else doc.place(where)
            message = f"{_name(where)}: {_complaint(error, where, doc)}"
    return Problem(shown, line, column, message)


def _complaint(error: Mapping[str, Any], where: Path, doc: Document) -> str:
    kind = error["type"]
    raw = doc.raw.get(where)
    if kind == "string_type" and raw is not None:
        return _unquoted(raw, error["input"])
    if kind in _NOUNS:
        return f"expected {_NOUNS[kind]}, found {_found(error['input'])}"
    if kind == "string_pattern_mismatch":
        return f"'{shorten(str(error['input']))}' does not look right: expected {error['ctx']['pattern']}"
    if kind == "value_error":
        return str(error["ctx"]["error"])
    if kind == "too_short":
        return "must not be empty"
    return f"{error['msg'][:1].lower()}{error['msg'][1:]}"


def _unquoted(raw: str, value: Any) -> str:
    if value is None:
        return "is empty: give a value" if raw == "" else f'YAML reads {raw} as nothing: write "{raw}"'
    reads = {bool: "true or false", int: "a number", float: "a number"}.get(type(value), "a date")
    if isinstance(value, bool):
        reads = str(value).lower()
    elif isinstance(value, (int, float)):
        reads = f"the number {value}"
    return f'YAML reads {shorten(raw)} as {reads}: write "{shorten(raw)}"'


def _found(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    names = {dict: "a mapping", tuple: "a list", str: "text", type(None): "nothing"}
    return names.get(type(value)) or f"{shorten(str(value))}"


def _fields_at(kind: type[BaseModel], where: Path) -> Iterable[str]:
    """The keys that the model at ``where`` knows."""
    current: Any = kind
    for part in where:
        if isinstance(current, type) and issubclass(current, BaseModel):
            info = current.model_fields.get(str(part))
            current = info.annotation if info else None
        current = _inner(current)
    if isinstance(current, type) and issubclass(current, BaseModel):
        return current.model_fields
    return ()


def _inner(annotation: Any) -> Any:
    """The model inside a container or an optional, or the annotation itself."""
    for argument in get_args(annotation):
        if isinstance(argument, type) and issubclass(argument, BaseModel):
            return argument
        found = _inner(argument)
        if found is not argument:
            return found
    return annotation


def _suggest(word: str, known: Iterable[str]) -> str:
    known = list(known)
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    if close:
        return f", did you mean '{close[0]}'?"
    return f"; known here: {', '.join(known)}" if known else ""


def _name(where: Path) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in where)
    return shorten(text.lstrip(".")) or "the file"
