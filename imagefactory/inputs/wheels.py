"""Which file of a Python package fits: tags of wheels, and what source distributions are built with."""

from __future__ import annotations

import re
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from packaging.tags import Tag, compatible_tags, cpython_tags

_LEGACY = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}  # PEP 600
DEFAULT_BACKEND = ("setuptools>=40.8", "wheel")  # what PEP 518 has for those that name none
_MAX_BYTES = 1 << 20
_UV_NEWEST = (2, 40)  # of its --python-platform


@dataclass(frozen=True, slots=True)
class Target:
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
        interpreter = f"cp{self.python[0]}{self.python[1]}"
        return [
            *cpython_tags(self.python, platforms=platforms),
            *compatible_tags(self.python, interpreter, platforms),
        ]

    def _platforms(self) -> Iterator[str]:
        major, newest = self.glibc
        for minor in range(newest, 4, -1):
            yield f"manylinux_{major}_{minor}_{self.machine}"
            if minor in _LEGACY:
                yield f"{_LEGACY[minor]}_{self.machine}"
        yield f"linux_{self.machine}"


def build_requires(sdist: Path, filename: str) -> tuple[str, ...]:
    """What a source distribution says it is built with (PEP 518)."""
    text = _pyproject(sdist, filename)
    try:
        system = tomllib.loads(text).get("build-system", {})
    except tomllib.TOMLDecodeError:
        return DEFAULT_BACKEND
    requires = system.get("requires") if isinstance(system, dict) else None
    return tuple(map(str, requires)) if isinstance(requires, list) and requires else DEFAULT_BACKEND


def _pyproject(sdist: Path, filename: str) -> str:
    wanted = re.compile(r"^[^/]+/pyproject\.toml$")
    try:
        if filename.endswith(".zip"):
            with zipfile.ZipFile(sdist) as archive:
                inner = next((name for name in archive.namelist() if wanted.match(name)), None)
                return archive.read(inner)[:_MAX_BYTES].decode("utf-8", "replace") if inner else ""
        with tarfile.open(sdist) as packed:
            member = next((m for m in packed if m.isfile() and wanted.match(m.name)), None)
            content = packed.extractfile(member) if member else None
            return content.read(_MAX_BYTES).decode("utf-8", "replace") if content else ""
    except (tarfile.TarError, zipfile.BadZipFile, OSError):
        return ""
