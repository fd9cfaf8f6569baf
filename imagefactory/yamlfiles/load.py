"""A file to a model: every defect of one reading becomes one line that a person can act on."""

from __future__ import annotations

import difflib
import math
import stat
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path as FilePath
from types import NoneType, UnionType
from typing import Annotated, Any, Generic, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from imagefactory.errors import BadFiles, Problem
from imagefactory.model.fields import MAPPING, PATTERN, PLAIN, TEXT
from imagefactory.yamlfiles.parse import MAX_BYTES, Document, Malformed, Path, parse, shorten

Model = TypeVar("Model", bound=BaseModel)

_NO_PLACES = ("[key]", TEXT, MAPPING, PLAIN, PATTERN)  # what pydantic adds to places
_NOUNS = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a number",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
}


@dataclass(frozen=True)
class Text:
    """What a file says, right or wrong, and where it says so."""

    path: str
    document: Document

    def at(self, where: Path) -> Any:
        """The value at ``where``, or None if there is none."""
        value = self.document.data
        for part in where:
            if isinstance(value, tuple) and isinstance(part, int):
                value = value[part] if part < len(value) else None
            else:
                value = value.get(part) if isinstance(value, dict) else None
        return value

    @property
    def defects(self) -> list[Problem]:
        """What was read over."""
        return [Problem(self.path, *defect) for defect in self.document.defects]

    def saying(self, data: Any) -> Text:
        """The same places with other values there."""
        return replace(self, document=replace(self.document, data=data))

    def as_a(self, kind: type[Model]) -> Model:
        """It as a model. Raises BadFiles with every value that is not what the model has there."""
        try:
            return kind.model_validate(self.document.data)
        except ValidationError as error:
            errors = error.errors()
            telling = [each for each in errors if not _follows(each)] or errors
            raise BadFiles([_problem(each, self.path, kind, self.document) for each in telling]) from None

    def problem(self, where: Path, message: str, *, key: bool = False) -> Problem:
        """A defect of the value (or, with ``key``, of the key) at ``where``."""
        places = self.document.keys if key else self.document.values
        line, column = places.get(where) or self.document.place(where)
        return Problem(self.path, line, column, message)


@dataclass(frozen=True)
class Loaded(Generic[Model]):
    """A model with the text it came from, so that later checks can point at its lines."""

    model: Model
    text: Text

    def problem(self, where: Path, message: str, *, key: bool = False) -> Problem:
        """A defect of the value (or, with ``key``, of the key) at ``where``."""
        return self.text.problem(where, message, key=key)


def load(
    file: FilePath,
    shown: str,
    kind: type[Model],
    check: Callable[[Text], Iterable[Problem]] = lambda text: (),
    *,
    scale: int = 1,
) -> Loaded[Model]:
    """Read ``file`` as a ``kind``; ``shown`` is its name in messages.

    ``check`` finds defects beyond the shape of each value, also in a text that has such defects. ``scale``
    multiplies how much the file may hold.
    Raises BadFiles with all defects.
    """
    text = read(file, shown, scale=scale)
    problems = text.defects
    try:
        model = text.as_a(kind)
    except BadFiles as error:
        problems += error.problems
    problems += check(text)
    if problems:
        raise BadFiles(problems)
    return Loaded(model, text)


def read(file: FilePath, shown: str, *, scale: int = 1) -> Text:
    """What ``file`` says, whatever that is. Raises BadFiles where it can't be read to its end."""
    return text_of(content_of(file, shown, scale=scale), shown, scale=scale)


def text_of(content: bytes, shown: str, *, scale: int = 1) -> Text:
    """The same of a file's content."""
    try:
        return Text(shown, parse(content, scale))
    except Malformed as error:
        raise BadFiles([Problem(shown, *error.defect)]) from None


def content_of(file: FilePath, shown: str, *, scale: int = 1) -> bytes:
    """All that ``file`` holds, or more of it than it may hold. Raises BadFiles where it can't be read."""
    try:
        mode = file.lstat().st_mode
        if stat.S_ISLNK(mode):
            complaint = "is a symbolic link: put the file itself there"
        elif not stat.S_ISREG(mode):
            complaint = "is not a regular file"
        else:
            with file.open("rb") as content:
                return content.read(MAX_BYTES * scale + 1)
    except (FileNotFoundError, NotADirectoryError):
        complaint = "is missing: every recipe has one"
    except OSError as error:
        complaint = f"cannot be read: {error.strerror}"
    raise BadFiles([Problem(shown, 0, 0, complaint)])


def _follows(error: Mapping[str, Any]) -> bool:
    """Whether it only says that a list is short of the items that have errors of their own."""
    return error["type"] == "too_short" and isinstance(error["input"], tuple) and len(error["input"]) > 0


def _problem(error: Mapping[str, Any], shown: str, kind: type[BaseModel], doc: Document) -> Problem:
    where: Path = tuple(part for part in error["loc"] if part not in _NO_PLACES)
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
    given, limits = error["input"], error.get("ctx", {})
    match error["type"]:
        case "string_type" if where in doc.raw:
            return _unquoted(doc.raw[where], given)
        case "float_type" if number := _number(given):
            return f"expected a number, found text: write {number}"
        case kind if kind in _NOUNS:
            return f"expected {_NOUNS[kind]}, found {_found(given)}"
        case "expected" | "literal_error":
            return f"expected {limits.get('what') or limits['expected']}, found {_found(given)}"
        case "value_error":
            return str(limits["error"])
        case "too_short" | "string_too_short":
            least = limits["min_length"]
            return "must not be empty" if least < 2 else f"shorter than {least} characters"
        case "too_long" | "string_too_long":
            return f"longer than {limits['max_length']} {'characters' if isinstance(given, str) else 'items'}"
        case "greater_than_equal":
            return f"must be {limits['ge']} or more, found {_found(given)}"
        case "less_than_equal":
            return f"must be {limits['le']} or less, found {_found(given)}"
    return f"{error['msg'][:1].lower()}{error['msg'][1:]}"


def _number(text: Any) -> str:
    """``text`` as YAML 1.1 writes a number, with a point and the exponent's sign, or nothing."""
    try:
        number = float(text) if isinstance(text, str) else math.nan
    except ValueError:
        return ""
    mantissa, e, exponent = repr(number).partition("e")
    point = "" if "." in mantissa else ".0"
    return f"{mantissa}{point}{e}{exponent}" if math.isfinite(number) else ""


def _unquoted(raw: str, value: Any) -> str:
    if value is None:
        return (
            f'YAML reads {raw} as nothing: give a value, or write "{raw}"'
            if raw
            else "is empty: give a value"
        )
    if isinstance(value, bool):
        reads = str(value).lower()
    elif isinstance(value, (int, float)):
        reads = "a number" if str(value) == raw else f"the number {value}"
    else:
        reads = "a date"
    return f'YAML reads {raw} as {reads}: write "{raw}"'


def _found(value: Any) -> str:
    match value:
        case bool():
            return str(value).lower()
        case str():
            return f"'{shorten(value)}'"
        case dict() | tuple():
            return "a mapping" if isinstance(value, dict) else "a list"
    return "nothing" if value is None else shorten(str(value))


def _fields_at(kind: type[BaseModel], where: Path) -> Iterable[str]:
    """The keys that the model at ``where`` knows."""
    current: Any = kind
    for part in where:
        if _is_model(current):
            field = current.model_fields.get(str(part))
            current = _given(field.annotation) if field else None
        else:  # a list's items, or a mapping's values
            inner = [argument for argument in get_args(current) if argument is not Ellipsis]
            current = _given(inner[-1]) if inner else None
    fields = current.model_fields if _is_model(current) else {}
    return [field.alias or name for name, field in fields.items()]


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _given(annotation: Any) -> Any:
    """What an annotation is when a value is given: its model, where it may be one."""
    if get_origin(annotation) is Annotated:
        return _given(get_args(annotation)[0])
    if get_origin(annotation) not in (Union, UnionType):
        return annotation
    choices = [_given(argument) for argument in get_args(annotation) if argument is not NoneType]
    return next((choice for choice in choices if _is_model(choice)), choices[0])


def _suggest(word: str, known: Iterable[str]) -> str:
    known = list(known)
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    if close:
        return f", did you mean '{close[0]}'?"
    return f", known here: {', '.join(known)}" if known else ""


def _name(where: Path) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in where)
    return shorten(text.lstrip(".")) or "the file"
