"""The kinds of value a recipe may hold. Every one is data: nothing here is shell or template code."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

IDENTIFIER = r"^[a-z0-9]+(-[a-z0-9]+)*$"

_UNITS = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
_SIZE = re.compile(r"(\d{1,6}(?:\.\d{1,3})?) ?(KiB|MiB|GiB|TiB)")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class Strict(BaseModel):
    """Frozen, and deaf to keys it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def parse_size(value: Any) -> int:
    """Bytes in a size such as ``2 GiB`` (binary units, IEC 80000-13).

    Raises ValueError when the text is not a size.
    """
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError("write a size with its unit, such as 512 MiB or 2 GiB")
    return int(float(match[1]) * _UNITS[match[2]])


def _one_line(value: str) -> str:
    if _CONTROL.search(value):
        raise ValueError("must be one line of text, without control characters")
    if value != value.strip():
        raise ValueError("must not begin or end with a space")
    return value


def _printable(value: str) -> str:
    if _CONTROL.search(value):
        raise ValueError("must not hold line breaks or control characters")
    return value


def _regular_expression(value: str) -> str:
    try:
        re.compile(value)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from None
    return value


def _inside(value: str) -> str:
    if value.startswith("/") or ".." in value.split("/"):
        raise ValueError("must be a relative path that stays inside its folder")
    return value


def _absolute(value: str) -> str:
    if not value.startswith("/") or ".." in value.split("/"):
        raise ValueError("must be an absolute path without '..'")
    return value


def _unreserved(value: str) -> str:
    if value in {"HOME", "PATH", "LD_PRELOAD", "IFS"}:
        instead = " (use 'path' to add folders)" if value == "PATH" else ""
        raise ValueError(f"{value} is set by the image itself{instead}")
    return value


Identifier = Annotated[str, Field(pattern=IDENTIFIER, max_length=63)]
Line = Annotated[str, Field(min_length=1, max_length=1000), AfterValidator(_one_line)]
Argument = Annotated[str, Field(max_length=4096), AfterValidator(_printable)]
Pattern = Annotated[str, Field(min_length=1, max_length=500), AfterValidator(_regular_expression)]
# No quotes, dollar signs or credentials: an address is written into files that others read.
Url = Annotated[
    Line, Field(pattern=r"^https?://[A-Za-z0-9][A-Za-z0-9.:-]*(/[A-Za-z0-9._~:/?#!&()*+,;=%-]*)?$")
]
Version = Annotated[Line, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+~-]*$", max_length=100)]
Licence = Annotated[
    Line, Field(pattern=r"^[A-Za-z0-9.+-]+( (AND|OR|WITH) [A-Za-z0-9.+-]+)*$", max_length=200)
]
Command = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._+-]*$", max_length=100)]
EnvironmentName = Annotated[
    str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=100), AfterValidator(_unreserved)
]
EnvironmentValue = Annotated[str, Field(max_length=4096), AfterValidator(_printable)]
RelativePath = Annotated[Line, Field(max_length=400), AfterValidator(_inside)]
AbsolutePath = Annotated[
    Line, Field(max_length=400, pattern=r"^/[A-Za-z0-9._+/@-]*$"), AfterValidator(_absolute)
]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
GitCommit = Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]
AptPackage = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9+.-]+$", max_length=100)]
Size = Annotated[
    int,
    BeforeValidator(parse_size),
    WithJsonSchema({"type": "string", "pattern": rf"^{_SIZE.pattern}$", "examples": ["2 GiB"]}),
]
