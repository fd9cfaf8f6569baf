"""Whether a value may stand in a recipe, and names that may."""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Collection
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

_ARCHIVES = re.compile(
    r"(\.tar)?\.(gz|bz2|xz|zst|tgz|tbz2|txz|zip|deb|sh|run|whl|jar|7z)$|\.tar$", re.IGNORECASE
)


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def fits(kind: Any, value: object) -> bool:
    """Whether ``value`` is of a kind of value of ``model.fields``."""
    try:
        _adapter(kind).validate_python(value)
    except ValidationError:
        return False
    return True


def slug(text: str, otherwise: str = "input", most: int = 63) -> str:
    """A text as an identifier: lower-case letters, digits and single hyphens."""
    found = re.sub(r"[^a-z0-9]+", "-", text.lower().replace("+", "plus")).strip("-")[:most].strip("-")
    return found or otherwise


def unused(name: str, taken: Collection[str]) -> str:
    """``name``, or with a number behind it where that is taken."""
    found, number = name, 2
    while found in taken:
        found = f"{name[:58]}-{number}"
        number += 1
    return found


def file_of(url: str) -> str:
    """The name of the file that an address gives: the last part of its path."""
    path = re.split(r"[?#]", re.sub(r"^[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*", "", url), maxsplit=1)[0]
    return urllib.parse.unquote(path).rstrip("/").rpartition("/")[2]


def source_path(name: str, url: str) -> str:
    """Where install.sh finds a source, as a word of a shell: its one file, by name where that is plain."""
    last = url.rpartition("/")[2]
    return f"/sources/{name}/{last if re.fullmatch('[A-Za-z0-9._+~=,@-]+', last) else '*'}"


def host_of(url: str) -> str:
    """The machine that an address is on; nothing where it names none."""
    found = re.match(r"[A-Za-z]+://(?:[^/@?#]*@)?([^/:?#]+)", url)
    return found[1].lower() if found else ""


def source_name(file: str) -> str:
    """What a source is called that is this file: without what says that it is packed."""
    previous = ""
    while file != previous:
        previous, file = file, _ARCHIVES.sub("", file)
    return slug(file, "source", most=40)


def name_of_source(url: str, file: str = "") -> str:
    """What a source is called: as the repository that an archive is of, or as its file."""
    if found := re.match(r"https?://(?:github|gitlab)\.com/[^/]+/([^/]+)/(?:-/)?(?:archive|tarball)/", url):
        return slug(found[1], "source", most=40)
    own = file_of(url)
    vague = own.lower() in ("", "download", "index.html", "file", "content")
    return source_name((file.rpartition("/")[2] if vague else own) or own)


def one_line(text: str, most: int = 1000) -> str:
    """A text in one line, without what no line may hold."""
    plain = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return plain if len(plain) <= most else f"{plain[: most - 3].rstrip()}..."
