"""uv resolves Python packages: requirements in, exact files out (PEP 751)."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from packaging.pylock import (
    Package,
    PackageSdist,
    PackageWheel,
    Pylock,
    PylockSelectError,
    PylockValidationError,
)
from packaging.utils import parse_wheel_filename
from uv import find_uv_bin

from imagefactory.errors import BuildFailed, NetworkFault, Unsolvable
from imagefactory.inputs.index import client_default, default_index, index_of
from imagefactory.inputs.protocol import Means
from imagefactory.inputs.unpinned import python_project
from imagefactory.inputs.wheels import Target
from imagefactory.model.recipe import PipIndex
from imagefactory.system import retry
from imagefactory.system.faults import network_words
from imagefactory.system.processes import stream

_NETWORK = network_words(
    r"timed out",
    r"error sending request",
    r"dns error",
    r"tcp connect error",
    r"status (?:server error|code 5\d\d|code 429)",
)


@dataclass(frozen=True)
class Request:
    """What is wanted. ``preferred`` holds versions by name that are kept where they still fit."""

    packages: Sequence[str]
    target: Target
    constraints: Sequence[str] = ()
    indexes: Mapping[str, PipIndex] | None = None
    preferred: Mapping[str, str] | None = None
    wheels_only: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """One file of one package. ``bytes`` is 0 where the index does not say."""

    name: str
    version: str
    filename: str
    sha256: str
    bytes: int
    index: str


def resolve(request: Request, what: str, means: Means) -> list[Found]:
    """Every file, by name. Raises BuildFailed, or a kind of it."""
    folder = means.scratch / "uv"
    folder.mkdir(exist_ok=True)
    (folder / "pyproject.toml").write_text(_project(request, means), encoding="utf-8")
    (folder / "constraints.txt").write_text("".join(f"{c}\n" for c in request.constraints))
    answer = folder / "pylock.toml"
    answer.unlink(missing_ok=True)
    if request.preferred:
        answer.write_text(_preferences(request.preferred))
    argv = [
        *(
            find_uv_bin(),
            "pip",
            "compile",
            "pyproject.toml",
            "--constraints=constraints.txt",
            "--output-file=pylock.toml",
        ),
        *("--format=pylock.toml", "--no-header", "--quiet", "--no-python-downloads"),
        f"--python-version={request.target.python[0]}.{request.target.python[1]}",
        f"--python-platform={request.target.uv_platform}",
        *(["--only-binary=:all:"] if request.wheels_only else []),
    ]
    environment = {**means.site.environment(), "NO_COLOR": "1"}
    index = default_index(means)
    address = means.site.addresses(index)[0].url
    if address != client_default():
        environment["UV_DEFAULT_INDEX"] = address  # not on the command line: it may hold a password

    def ask() -> None:
        lines: list[str] = []

        def hear(line: str) -> None:
            lines.append(line)
            means.log.line(line)

        if stream(argv, hear, stop=means.stop, cwd=folder, environment=environment):
            raise _failure(lines, what, means)

    retry.on_network_fault(
        ask,
        before_retry=means.log.line,
        wait=means.stop.wait,
        pause=means.site.settings.retry_pause,
    )
    return _files_in(answer, request, what)


def _project(request: Request, means: Means) -> str:
    """A project that needs what is wanted, from where the site has it."""
    indexes = {
        name: (means.site.addresses(index.url.rstrip("/"))[0].url, index.packages)
        for name, index in (request.indexes or {}).items()
    }
    return python_project(request.packages, indexes, ".".join(map(str, request.target.python)))


def _preferences(versions: Mapping[str, str]) -> str:
    """A lock file of the versions that we have: uv keeps those that still fit."""
    lines = ['lock-version = "1.0"', 'created-by = "imagefactory"']
    for name, version in sorted(versions.items()):
        wheel = f"{name.replace('-', '_')}-{version}-py3-none-any.whl"
        lines += [
            "[[packages]]",
            f"name = {json.dumps(name)}",
            f"version = {json.dumps(version)}",
            f'wheels = [{{ url = "https://example.org/{wheel}", hashes = {{ sha256 = "{"0" * 64}" }} }}]',
        ]
    return "\n".join(lines) + "\n"


def _files_in(answer: Path, request: Request, what: str) -> list[Found]:
    content = tomllib.loads(answer.read_text(encoding="utf-8"))
    for package in content.get("packages", ()):
        _leave_out_unreadable(package)
    try:
        lock = Pylock.from_dict(content)
    except PylockValidationError as error:
        raise BuildFailed(
            f"{what}: uv's answer cannot be read: {error}",
            hint="where one package is named, ask for another version of it under 'constraints'",
        ) from None
    return [_choose(lock, package, request, what) for package in lock.packages]


def _leave_out_unreadable(package: dict[str, Any]) -> None:
    """One name that packaging cannot read (``a-1.tar.bz2``) would make it refuse the whole lock."""
    sdist = package.get("sdist")
    readable = {
        "wheels": [wheel for wheel in package.get("wheels", ()) if _is_readable(package, wheels=[wheel])],
        "sdist": sdist if _is_readable(package, sdist=sdist) else None,
    }
    if any(readable.values()):
        package.update(readable)


def _is_readable(package: Mapping[str, Any], **files: Any) -> bool:
    alone = {"name": package.get("name"), "version": package.get("version"), **files}
    try:
        Pylock.from_dict({"lock-version": "1.0", "created-by": "uv", "packages": [alone]})
    except PylockValidationError:
        return False
    return True


def _choose(lock: Pylock, package: Package, request: Request, what: str) -> Found:
    """The file that pip would take."""
    version = str(package.version or "")
    # Of several builds the last: packaging takes the first of those that fit equally well.
    wheels = sorted(
        package.wheels or (), key=lambda wheel: parse_wheel_filename(wheel.filename)[2], reverse=True
    )
    # uv has looked at markers and versions of Python for the image; packaging would ask this machine.
    plain = replace(package, marker=None, requires_python=None, wheels=wheels or None)
    alone = replace(lock, requires_python=None, packages=[plain])
    try:
        ((_, file),) = alone.select(tags=request.target.tags())
    except PylockSelectError:
        python = ".".join(map(str, request.target.python))
        raise BuildFailed(
            f"{what}: {package.name} {version} has no file for Python {python} on {request.target.machine}",
            hint="ask for another version under 'constraints'",
        ) from None
    assert isinstance(file, (PackageWheel, PackageSdist)), f"{package.name} is no file of an index"
    return Found(
        name=package.name,
        version=version,
        filename=file.filename,
        sha256=file.hashes.get("sha256", ""),
        bytes=file.size or 0,
        index=index_of(package.name, request.indexes or {}),
    )


def _failure(lines: Iterable[str], what: str, means: Means) -> BuildFailed:
    said = [line for line in lines if line.strip()]
    if _NETWORK("\n".join(said)):
        return NetworkFault(
            f"{what}: the index of Python packages cannot be reached",
            hint="check the network; behind a firewall, name 'python_index', mirrors or proxies in site.yaml",
            tail=said[-8:],
            log=means.log.path,
        )
    return Unsolvable(
        f"{what}: these Python packages cannot be had together",
        hint="uv's reasons stand above; loosen the requirements, or add 'constraints'",
        tail=said[-15:],
        log=means.log.path,
    )
