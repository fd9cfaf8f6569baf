"""A small index of Python packages in a folder: real wheels and source distributions, always the same."""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import io
import json
import re
import tarfile
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.upstreams.server import JSON_INDEX

_BACKEND = """\
import base64
import os

NAME = {name!r}
WHEEL = {wheel!r}


def build_wheel(target, config_settings=None, metadata_directory=None):
    with open(os.path.join(target, NAME), "wb") as file:
        file.write(base64.b64decode(WHEEL))
    return NAME
"""


@dataclass(frozen=True)
class Package:
    """One file of an index. ``metadata`` is what a wheel says of itself (PEP 658)."""

    project: str
    version: str
    filename: str
    data: bytes
    metadata: bytes = b""
    requires_python: str = ""

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()


def make_wheel(
    name: str,
    version: str,
    modules: Mapping[str, str],
    requires: Iterable[str] = (),
    entry_points: Iterable[str] = (),
    *,
    tag: str = "py3-none-any",
    requires_python: str = "",
) -> Package:
    """A wheel that installs ``modules``, texts by their path such as ``app/__init__.py``.

    ``entry_points`` are commands, such as ``app = app:main``.
    """
    stem = f"{_stem(name)}-{version}"
    info = f"{stem}.dist-info"
    metadata = _metadata(name, version, requires, requires_python)
    pure = str(tag.endswith("-any")).lower()
    wheel = f"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: {pure}\n"
    wheel += "".join(f"Tag: {t}\n" for t in _tags(tag))
    files = {path: text.encode() for path, text in sorted(modules.items())}
    files |= {f"{info}/METADATA": metadata, f"{info}/WHEEL": wheel.encode()}
    commands = list(entry_points)
    if commands:
        files[f"{info}/entry_points.txt"] = "\n".join(["[console_scripts]", *commands, ""]).encode()
    record = "".join(f"{path},sha256={_record_hash(data)},{len(data)}\n" for path, data in files.items())
    files[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    return Package(_project(name), version, f"{stem}-{tag}.whl", _zip(files), metadata, requires_python)


def make_sdist(
    name: str,
    version: str,
    modules: Mapping[str, str],
    build_requires: Iterable[str] | None = ("setuptools",),
    *,
    requires: Iterable[str] = (),
    requires_python: str = "",
) -> Package:
    """A source distribution. With setuptools among ``build_requires``, setuptools builds it.

    Otherwise it brings a backend of its own, so that no real package has to be in the index. None makes one
    of the old kind, with a setup.py and nothing that says what it is built with.
    """
    stem = f"{_stem(name)}-{version}"
    needs, builders = list(requires), None if build_requires is None else list(build_requires)
    files = {f"{stem}/{path}": text.encode() for path, text in sorted(modules.items())}
    files[f"{stem}/PKG-INFO"] = _metadata(name, version, needs, requires_python)
    if builders is None:
        files[f"{stem}/setup.py"] = _setup(name, version, modules, needs).encode()
    else:
        own = not any(re.match(r"setuptools(?![\w.-]*\w)", builder) for builder in builders)
        files[f"{stem}/pyproject.toml"] = _pyproject(name, version, modules, needs, builders, own).encode()
        if own:
            built = make_wheel(name, version, modules, needs, requires_python=requires_python)
            backend = _BACKEND.format(name=built.filename, wheel=base64.b64encode(built.data).decode())
            files[f"{stem}/backend.py"] = backend.encode()
    data = _tar_gz(files)
    return Package(_project(name), version, f"{stem}.tar.gz", data, requires_python=requires_python)


def make_index(folder: Path, files: Iterable[Package], *, with_json: bool = True) -> Path:
    """Write an index that holds ``files``: HTML (PEP 503), and JSON beside it (PEP 691).

    The JSON form tells sizes, the HTML form does not. Each file is at ``<project>/<filename>``. Called again
    for the same folder, it replaces the projects named.
    """
    folder.mkdir(parents=True, exist_ok=True)
    projects: dict[str, list[Package]] = {}
    for file in files:
        projects.setdefault(file.project, []).append(file)
    for name, packages in projects.items():
        place = folder / name
        place.mkdir(exist_ok=True)
        for package in packages:
            (place / package.filename).write_bytes(package.data)
            if package.metadata:
                (place / f"{package.filename}.metadata").write_bytes(package.metadata)
        links = {p.filename: f"{p.filename}#sha256={p.sha256}" for p in packages}
        page = _json_page(name, packages) if with_json else None
        _write_pages(place, links, {p.filename: _attributes(p) for p in packages}, page)
    names = sorted(place.name for place in folder.iterdir() if place.is_dir())
    _write_pages(folder, {name: f"{name}/" for name in names}, {}, None)
    return folder


def _write_pages(
    folder: Path, links: Mapping[str, str], attributes: Mapping[str, Mapping[str, str]], page: object
) -> None:
    lines = ["<!DOCTYPE html>", "<html><head><title>Links</title></head><body>"]
    for text, target in links.items():
        more = "".join(f' {key}="{html.escape(value)}"' for key, value in attributes.get(text, {}).items())
        lines.append(f'<a href="{html.escape(target)}"{more}>{html.escape(text)}</a><br>')
    (folder / "index.html").write_text("\n".join([*lines, "</body></html>", ""]), encoding="utf-8")
    (folder / JSON_INDEX).unlink(missing_ok=True)
    if page is not None:
        (folder / JSON_INDEX).write_text(json.dumps(page, indent=1), encoding="utf-8")


def _attributes(package: Package) -> dict[str, str]:
    found: dict[str, str] = {}
    if package.metadata:
        digest = f"sha256={hashlib.sha256(package.metadata).hexdigest()}"
        found |= {"data-core-metadata": digest, "data-dist-info-metadata": digest}
    if package.requires_python:
        found["data-requires-python"] = package.requires_python
    return found


def _json_page(name: str, packages: Iterable[Package]) -> dict[str, object]:
    files: list[dict[str, object]] = []
    versions = []
    for package in packages:
        entry: dict[str, object] = {
            "filename": package.filename,
            "url": package.filename,
            "hashes": {"sha256": package.sha256},
            "size": len(package.data),
        }
        if package.metadata:
            entry["core-metadata"] = {"sha256": hashlib.sha256(package.metadata).hexdigest()}
        if package.requires_python:
            entry["requires-python"] = package.requires_python
        files.append(entry)
        versions.append(package.version)
    return {
        "meta": {"api-version": "1.1"},
        "name": name,
        "versions": sorted(set(versions)),
        "files": files,
    }


def _project(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _stem(name: str) -> str:
    return _project(name).replace("-", "_")


def _metadata(name: str, version: str, requires: Iterable[str], requires_python: str) -> bytes:
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    if requires_python:
        lines.append(f"Requires-Python: {requires_python}")
    return "\n".join([*lines, *(f"Requires-Dist: {r}" for r in requires), ""]).encode()


def _tags(tag: str) -> list[str]:
    """All tags that a file name's compressed tag stands for."""
    pythons, abis, platforms = (part.split(".") for part in tag.split("-"))
    return [f"{python}-{abi}-{platform}" for python in pythons for abi in abis for platform in platforms]


def _record_hash(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def _zip(files: Mapping[str, bytes]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as archive:  # stored: zlib's versions differ
        for path, data in files.items():
            entry = zipfile.ZipInfo(path)  # of 1980
            entry.create_system, entry.external_attr = 3, 0o100644 << 16
            archive.writestr(entry, data)
    return content.getvalue()


def _tar_gz(files: Mapping[str, bytes]) -> bytes:
    content = io.BytesIO()
    with (
        gzip.GzipFile("", "wb", compresslevel=0, fileobj=content, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for path, data in files.items():
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(data), 0o644
            archive.addfile(entry, io.BytesIO(data))
    return content.getvalue()


def _contents(modules: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """The single modules, and the packages, of some paths."""
    singles = sorted(path.removesuffix(".py") for path in modules if "/" not in path)
    packages = sorted({path.rpartition("/")[0].replace("/", ".") for path in modules if "/" in path})
    return singles, packages


def _pyproject(
    name: str, version: str, modules: Mapping[str, str], requires: list[str], builders: list[str], own: bool
) -> str:
    singles, packages = _contents(modules)
    lines = [
        "[build-system]",
        f"requires = {json.dumps(builders)}",
        f'build-backend = "{"backend" if own else "setuptools.build_meta"}"',
    ]
    if own:
        lines.append('backend-path = ["."]')
    lines += ["[project]", f'name = "{name}"', f'version = "{version}"']
    lines += [f"dependencies = {json.dumps(requires)}", "[tool.setuptools]"]
    lines += [f"py-modules = {json.dumps(singles)}", f"packages = {json.dumps(packages)}"]
    return "\n".join([*lines, ""])


def _setup(name: str, version: str, modules: Mapping[str, str], requires: list[str]) -> str:
    singles, packages = _contents(modules)
    arguments = f"name={name!r}, version={version!r}, py_modules={singles!r}, packages={packages!r}"
    return f"from setuptools import setup\n\nsetup({arguments}, install_requires={requires!r})\n"
