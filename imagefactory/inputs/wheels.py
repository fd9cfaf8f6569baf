"""Which file of a Python package fits: tags of wheels, and what source distributions are built with."""

from __future__ import annotations

import re
import struct
import tarfile
import tomllib
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from packaging.requirements import InvalidRequirement, Requirement
from packaging.tags import Tag, compatible_tags, cpython_tags

from imagefactory.errors import BuildFailed
from imagefactory.system.archives import Bounds, members, too_much

_LEGACY = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}  # PEP 600
DEFAULT_BACKEND = ("setuptools>=40.8", "wheel")  # what PEP 518 has for those that name none
_WANTED = re.compile(r"^[^/]+/pyproject\.toml$")
BOUNDS = Bounds(4 << 30, 1_000_000, 60.0)
_MAX_BYTES = 256 << 10
_MAX_DOTS = 1_000_000  # the squares of their numbers in each line: so much do keys with dots take of memory
_MAX_PIECE = 4 << 20
_MAX_REQUIREMENT = 1000  # letters
_BAD_ZIP = (zipfile.BadZipFile, OSError, EOFError, zlib.error, struct.error, ValueError, RuntimeError)
_UV_NEWEST = (2, 40)  # of its --python-platform


@dataclass(frozen=True, slots=True)
class Interpreter:
    """The Python that packages are for: ``python`` is such as (3, 11), ``glibc`` such as (2, 36)."""

    python: tuple[int, int]
    glibc: tuple[int, int]
    machine: str

    @property
    def uv_platform(self) -> str:
        """The platform as uv calls it, or the newest that it knows: newer C libraries run its wheels."""
        major, minor = min(self.glibc, _UV_NEWEST)
        return f"{self.machine}-manylinux_{major}_{minor}"

    def tags(self) -> list[Tag]:
        """The tags of wheels that fit, the best first (PEP 425, PEP 600)."""
        platforms = list(self._platforms())
        abi = f"cp{self.python[0]}{self.python[1]}"
        return [
            *cpython_tags(self.python, platforms=platforms),
            *compatible_tags(self.python, abi, platforms),
        ]

    def _platforms(self) -> Iterator[str]:
        major, newest = self.glibc
        for minor in range(newest, 4, -1):
            yield f"manylinux_{major}_{minor}_{self.machine}"
            if minor in _LEGACY:
                yield f"{_LEGACY[minor]}_{self.machine}"
        yield f"linux_{self.machine}"


def build_requires(sdist: Path, filename: str, what: str = "") -> tuple[str, ...]:
    """What a source distribution says it is built with (PEP 518).

    What is no archive, or says nothing that can be read, is built as pip would build it. What goes beyond all
    bounds is a BuildFailed instead: with the usual builder it would only fail later, in the image's build.
    """
    what = f"{what}: {filename}" if what else filename
    text = _pyproject(sdist, filename, what)
    try:
        system = tomllib.loads(text).get("build-system", {})
    except (tomllib.TOMLDecodeError, RecursionError):
        return DEFAULT_BACKEND
    requires = system.get("requires") if isinstance(system, dict) else None
    if not isinstance(requires, list) or not requires:
        return DEFAULT_BACKEND
    return tuple(_from_index(str(each), what) for each in requires)


def _from_index(text: str, what: str) -> str:
    """A requirement that an index answers: uv would follow an address to any place, here too."""
    try:
        if len(text) > _MAX_REQUIREMENT or not text.isprintable():
            raise InvalidRequirement
        requirement = Requirement(text)
    except InvalidRequirement:
        raise BuildFailed(f"{what}: it is built with {text[:80]!a}, which names no package") from None
    if requirement.url:
        raise BuildFailed(
            f"{what}: it is built with {text[:80]!a}, and only packages of an index can be locked",
            hint="ask for another version of it under 'constraints'",
        )
    return text


def _pyproject(sdist: Path, filename: str, what: str) -> str:
    try:
        with sdist.open("rb") as file:
            data = _in_zip(file, what) if filename.endswith(".zip") else _in_tar(file, what)
    except (tarfile.TarError, *_BAD_ZIP):
        return ""
    if len(data) > _MAX_BYTES:
        raise too_much(what, f"its pyproject.toml has more than {_MAX_BYTES} bytes")
    if sum(line.count(b".") ** 2 for line in data.splitlines()) > _MAX_DOTS:
        raise too_much(what, "its pyproject.toml has keys that are too deep")
    return data.decode("utf-8", "replace")


def _in_tar(file: IO[bytes], what: str) -> bytes:
    for archive, member in members(file, what, BOUNDS):
        if member.isfile() and _WANTED.match(member.name):
            content = archive.extractfile(member)
            return content.read(_MAX_BYTES + 1) if content else b""
    return b""


def _in_zip(file: IO[bytes], what: str) -> bytes:
    with zipfile.ZipFile(_Pieces(file, what)) as archive:
        inner = next((entry for entry in archive.infolist() if _WANTED.match(entry.filename)), None)
        if not inner:
            return b""
        # Other ways to compress are unpacked in pieces of any size, and no tool that makes these uses them.
        if inner.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise too_much(what, "its pyproject.toml is compressed in an unusual way")
        with archive.open(inner) as content:
            return content.read(_MAX_BYTES + 1)


class _Pieces:
    """A file of which no large piece is read: a zip archive's list of entries is read whole."""

    def __init__(self, file: IO[bytes], what: str) -> None:
        self._file, self._what = file, what
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, count: int = -1) -> bytes:
        data = self._file.read(_MAX_PIECE + 1 if count < 0 else min(count, _MAX_PIECE + 1))
        if len(data) > _MAX_PIECE:
            raise too_much(self._what, "its list of entries is too long")
        return data
