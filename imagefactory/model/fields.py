"""The kinds of value a recipe may hold. Every one is data: nothing here is shell or template code."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from typing import Annotated, Any

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression
from packaging.requirements import InvalidRequirement, Requirement
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    WithJsonSchema,
)
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

IDENTIFIER = r"^[a-z0-9]+(-[a-z0-9]+)*$"
EXPECTED = "expected"
"""The type of the error that says what was expected; whoever shows it adds what was found."""
TEXT, MAPPING, PLAIN, PATTERN = "[text]", "[mapping]", "[plain]", "[pattern]"
"""In the places of errors, the ways in which a value may be given that may be given in two."""

_UNITS = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
_SIZE = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,3})?) ?(KiB|MiB|GiB|TiB)")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class Strict(BaseModel):
    """Frozen, and deaf to keys it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, defer_build=True)

    def unsaid(self, *names: str) -> set[str]:
        """Those of some fields that hold their defaults: digests from before they were there stay."""
        return {name for name in names if getattr(self, name) == type(self).model_fields[name].default}


@dataclass(frozen=True, slots=True)
class Matching:
    """A text all of which matches ``pattern``; ``expected`` says to a person what that is."""

    pattern: str
    expected: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {**handler(schema), "pattern": self.pattern}

    def _check(self, value: str) -> str:
        if not re.fullmatch(self.pattern, value):
            raise _expected(self.expected)
        return value


def parse_size(value: Any) -> int:
    """Bytes in a size such as ``2 GiB`` (binary units, IEC 80000-13).

    Raises ValueError when the text is not a size.
    """
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    size = int(float(match[1]) * _UNITS[match[2]]) if match else 0
    if size == 0:  # which engines take for "no limit"
        raise _expected("a size with its unit, such as 512 MiB or 2 GiB")
    return size


def _expected(what: str) -> PydanticCustomError:
    return PydanticCustomError(EXPECTED, "{what}", {"what": what})


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


def groups(pattern: str) -> int:
    """How many groups a regular expression has."""
    with warnings.catch_warnings(action="ignore"):  # on what a later Python may read otherwise
        return re.compile(pattern).groups


def _regular_expression(value: str) -> str:
    try:
        groups(value)
    except re.error as error:
        place = f" at character {error.pos + 1}" if error.pos is not None else ""
        raise ValueError(f"not a regular expression: {error.msg}{place}") from None
    except (OverflowError, RecursionError):
        raise ValueError("not a regular expression that Python can work with") from None
    return value


def _no_credentials(value: str) -> str:
    if re.match(r"[^/?#]*//[^/?#]*@", value):
        raise ValueError("must not hold a user name or a password: others read this file")
    return value


def _licence(value: str) -> str:
    try:
        return canonicalize_license_expression(value)
    except InvalidLicenseExpression:
        raise ValueError(
            f"'{value}' is not made of licences in https://spdx.org/licenses; "
            "such as GPL-3.0-or-later, or LicenseRef-its-name for another"
        ) from None


def _requirement(value: str) -> str:
    try:
        requirement = Requirement(value)
    except InvalidRequirement as error:
        reason = str(error).partition("\n")[0]  # what follows draws an arrow
        raise ValueError(f"'{value}' is not a requirement such as numpy>=1.26: {reason}") from None
    if requirement.url:
        raise ValueError(f"'{requirement.name}' names an address: declare an index under 'indexes' instead")
    return value


def _inside(value: str) -> str:
    parts = value.split("/")
    if value.startswith("/") or ".." in parts:
        raise ValueError("must be a relative path that stays inside its folder")
    if "." in parts or "" in parts:
        raise ValueError("must name a file or folder, without '.' and '//'")
    if any(len(part.encode()) > _MAX_NAME for part in parts):
        raise ValueError(f"no name in a path can be longer than {_MAX_NAME} bytes")
    return value


_MAX_NAME = 255


def _absolute(value: str) -> str:
    if not value.startswith("/") or ".." in value.split("/"):
        raise ValueError("must be an absolute path without '..'")
    return value


def _text(value: str) -> str:
    """Several lines, as an editor shows them."""
    for line in value.split("\n"):
        _printable(line.replace("\t", " "))
    return value


def _unreserved(value: str) -> str:
    if value in _RESERVED:
        instead = ": use 'path' to add folders" if value == "PATH" else ""
        raise ValueError(f"cannot be set by a recipe{instead}")
    return value


# BASE and those below are arguments of the build, which a variable of that name would override.
_RESERVED = {"HOME", "PATH", "LD_PRELOAD", "IFS", "BASE", "BASE_DIGEST", "SOURCE_DATE_EPOCH"}
_PLAIN_ADDRESS = (
    "a web address (http or https) without spaces, quotes, '$' and '#', "
    "such as https://example.org/app-1.0.tar.gz"
)
_HOST = r"https?://[A-Za-z0-9][A-Za-z0-9.:-]*"
_IN_PATH = r"A-Za-z0-9._~:/?!&()*+,;=%-"
_ADDRESS = rf"^{_HOST}(/[#{_IN_PATH}]*)?$"
_ADDRESS_OF_FILE = rf"^{_HOST}(/[{_IN_PATH}]*)?$"
_ADDRESS_OF_GIT = rf"^{_HOST}(/[{_IN_PATH}]*\.git)$"

Identifier = Annotated[
    str,
    Field(max_length=63),
    Matching(IDENTIFIER, "lower-case letters, digits and single hyphens, such as my-app"),
]
BaseName = Annotated[
    str,
    Field(max_length=63),
    Matching(
        r"^[a-z0-9]+([-.][a-z0-9]+)*$",
        "the name of a base image: lower-case letters, digits, single hyphens and dots, such as ubuntu-24.04",
    ),
]
Line = Annotated[str, Field(min_length=1, max_length=1000), AfterValidator(_one_line)]
Argument = Annotated[str, Field(max_length=4096), AfterValidator(_printable)]
Pattern = Annotated[str, Field(min_length=1, max_length=500), AfterValidator(_regular_expression)]
# No quotes, dollar signs or credentials: an address is written into files that others read.
Url = Annotated[
    Line,
    AfterValidator(_no_credentials),
    Matching(_ADDRESS, "a web address, such as https://example.org/app"),
]
# What follows '#' would take the place of the commit that a recipe names.
SourceUrl = Annotated[
    Line,
    AfterValidator(_no_credentials),
    Matching(_ADDRESS_OF_FILE, _PLAIN_ADDRESS),
]
GitUrl = Annotated[
    Line,
    AfterValidator(_no_credentials),
    # Without the ending, BuildKit would download a web page.
    Matching(
        _ADDRESS_OF_GIT,
        "a repository's web address that ends in .git, such as https://example.org/app.git",
    ),
]
Email = Annotated[Line, Matching(r"^[^@\s<>]+@[^@\s<>]+$", "an address such as name@example.org")]
Version = Annotated[
    Line,
    Field(max_length=100),
    Matching(r"^[A-Za-z0-9][A-Za-z0-9._+~-]*$", "a version, such as 1.10 or 2.0-rc1"),
]
Licence = Annotated[
    Line,
    Field(max_length=200),
    Matching(
        r"^\(*[A-Za-z0-9.+-]+\)*( (AND|OR|WITH) \(*[A-Za-z0-9.+-]+\)*)*$",
        "an SPDX licence expression, such as GPL-3.0-or-later",
    ),
    AfterValidator(_licence),
]
Command = Annotated[
    str,
    Field(max_length=100),
    Matching(r"^[A-Za-z0-9_][A-Za-z0-9._+-]*$", "the name of a command, such as esorex"),
]
CommandPattern = Annotated[
    str,
    Field(max_length=400),
    Matching(
        r"^(?=.*[*?])(/[A-Za-z0-9._+@-]+)*/?[A-Za-z0-9._+*?-]+$",
        "a command or a pattern of commands, such as esorex, wb_* or /opt/app/bin/*",
    ),
]
ValueName = Annotated[
    str,
    Field(max_length=60),
    Matching(r"^[a-z][a-z0-9_]*$", "small letters, digits and underscores, such as release"),
]
EnvironmentName = Annotated[
    str,
    Field(max_length=100),
    Matching(r"^[A-Za-z_][A-Za-z0-9_]*$", "letters, digits and underscores, such as OMP_NUM_THREADS"),
    AfterValidator(_unreserved),
]
EnvironmentValue = Annotated[str, Field(max_length=4096), AfterValidator(_printable)]
RelativePath = Annotated[Line, Field(max_length=400), AfterValidator(_inside)]
AbsolutePath = Annotated[
    Line,
    Field(max_length=400),
    AfterValidator(_absolute),
    Matching(
        r"^/[A-Za-z0-9._+/@-]*$",
        "an absolute path of letters, digits and . _ + @ -, such as /opt/app/bin",
    ),
]
Sha256 = Annotated[str, Matching(r"^[0-9a-f]{64}$", "a sha256: 64 digits and letters from a to f")]
Sha512 = Annotated[str, Matching(r"^[0-9a-f]{128}$", "a sha512: 128 digits and letters from a to f")]
GitCommit = Annotated[str, Matching(r"^[0-9a-f]{40}$", "a whole commit: 40 digits and letters from a to f")]
AptPackage = Annotated[
    str,
    Field(max_length=100),
    Matching(r"^[a-z0-9][a-z0-9+.-]+$", "the name of a Debian package, such as libfftw3-dev"),
]
PipRequirement = Annotated[Line, Field(max_length=300), AfterValidator(_requirement)]
PipName = Annotated[
    str,
    Field(max_length=100),
    Matching(r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$", "the name of a Python package, such as torch"),
]
CondaSpec = Annotated[
    Line,
    Field(max_length=200),
    Matching(
        r"^[a-z0-9_][a-z0-9_.-]*( *[<>=!~]*=?[A-Za-z0-9_.*,|<>=!~+ -]*)?$",
        "a conda package with its version, such as fermitools==2.5.1",
    ),
]
CondaChannel = Annotated[
    Line,
    AfterValidator(_no_credentials),
    Matching(
        rf"^[A-Za-z0-9][A-Za-z0-9_.-]*(/[A-Za-z0-9_.-]+)*$|{_ADDRESS}",
        "a channel's name, such as conda-forge, or its web address",
    ),
]
FileText = Annotated[str, Field(min_length=1, max_length=64 << 10), AfterValidator(_text)]
EdamTerm = Annotated[
    str,
    Matching(r"^(topic|operation|data|format)_[0-9]{4}$", "a term of EDAM, such as topic_3444"),
]
IconFile = Annotated[
    str,
    Field(max_length=100),
    Matching(
        r"^[A-Za-z0-9_][A-Za-z0-9_.-]*\.(svg|png)$", "an SVG or PNG file in icons/, such as fsleyes.svg"
    ),
]
ImageByDigest = Annotated[
    str,
    Field(max_length=400),
    Matching(
        r"^([a-z0-9-]+(\.[a-z0-9-]+)+(:[0-9]{1,5})?|localhost(:[0-9]{1,5})?)"  # a registry
        r"/[a-z0-9]+([._-]+[a-z0-9]+)*(/[a-z0-9]+([._-]+[a-z0-9]+)*)*"
        r"(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?@sha256:[0-9a-f]{64}$",
        "an image with its registry and digest, such as docker.io/library/debian@sha256:… (64 digits)",
    ),
]
CondaName = Annotated[
    str,
    Field(max_length=100),
    Matching(r"^[a-z0-9_][a-z0-9_.-]*$", "the name of a conda package, such as fermitools"),
]
Number = Annotated[float, Field(allow_inf_nan=False)]
Size = Annotated[
    int,
    BeforeValidator(parse_size),
    WithJsonSchema({"type": "string", "pattern": rf"^{_SIZE.pattern}$", "examples": ["2 GiB"]}),
]
