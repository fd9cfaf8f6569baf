"""uv resolves Python packages: requirements in, exact files out (PEP 751)."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
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
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename
from uv import find_uv_bin

from imagefactory.errors import BuildFailed, Unsolvable
from imagefactory.inputs.asking import answer_of, first_words
from imagefactory.inputs.index import default_index, index_of
from imagefactory.inputs.index_route import IndexRoute
from imagefactory.inputs.protocol import Means
from imagefactory.inputs.unpinned import python_project
from imagefactory.inputs.wheels import Interpreter
from imagefactory.model.recipe import PipIndex
from imagefactory.sandbox import Errand, Limits, Relay, host_python


@dataclass(frozen=True)
class Request:
    """What is wanted. ``preferred`` holds versions by name that are kept where they still fit."""

    packages: Sequence[str]
    interpreter: Interpreter
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


_SCRIPT = """\
cp /in/pyproject.toml /in/constraints.txt .
if [ -f /in/pylock.toml ]; then cp /in/pylock.toml .; fi
/in/uv pip compile pyproject.toml --constraints=constraints.txt --output-file=pylock.toml \\
    --format=pylock.toml --no-header --quiet --python="$BUILD_PYTHON" {options}
# Here, for what reads TOML can be kept busy for hours.
"$BUILD_PYTHON" -I -c '
import json, sys, tomllib
json.dump(tomllib.load(sys.stdin.buffer), sys.stdout, default=str)' <pylock.toml >&3
"""
_LIMITS = Limits(seconds=900, disk=8 << 30)
_MAX_ANSWER = 64 << 20
_UNSOLVABLE = "No solution found"


def resolve(request: Request, what: str, means: Means) -> list[Found]:
    """Every file, by name. Raises BuildFailed, or a kind of it.

    uv runs setup.py and other code of packages that only have source distributions, so it does it in a
    sandbox with nothing of its own there, and with these indexes alone.
    """
    relay = Relay()
    routes = {"": IndexRoute(default_index(means), what, means)}
    routes |= {
        name: IndexRoute(index.url.rstrip("/"), what, means)
        for name, index in (request.indexes or {}).items()
    }
    addresses = {name: f"{relay.add(route)}/simple" for name, route in routes.items()}
    interpreter = request.interpreter
    options = [
        f"--python-version={interpreter.python[0]}.{interpreter.python[1]}",
        f"--python-platform={interpreter.uv_platform}",
        *(["--only-binary=:all:"] if request.wheels_only else []),
    ]
    errand = Errand(
        what,
        _SCRIPT.format(options=shlex.join(options)),
        {
            "uv": Path(find_uv_bin()),
            "pyproject.toml": _project(request, addresses).encode(),
            "constraints.txt": "".join(f"{c}\n" for c in request.constraints).encode(),
            **({"pylock.toml": _preferences(request.preferred).encode()} if request.preferred else {}),
        },
        {
            "UV_DEFAULT_INDEX": addresses[""],
            "UV_NO_CONFIG": "1",
            "UV_PYTHON_DOWNLOADS": "never",
            "UV_CACHE_DIR": "/job/cache",
            "BUILD_PYTHON": str(host_python()),
        },
        _LIMITS,
        relay,
    )

    def failure(lines: Sequence[str], what: str, means: Means) -> BuildFailed:
        return _failure(
            lines, what, means, [each for route in routes.values() for each in route.left_out.items()]
        )

    answer = answer_of(errand, means, failure, _MAX_ANSWER)
    return _files_in(answer, routes, request, what)


def _project(request: Request, addresses: Mapping[str, str]) -> str:
    """A project that needs what is wanted, from where the sandbox has it."""
    indexes = {name: (addresses[name], index.packages) for name, index in (request.indexes or {}).items()}
    return python_project(request.packages, indexes, ".".join(map(str, request.interpreter.python)))


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


def _files_in(answer: bytes, routes: Mapping[str, IndexRoute], request: Request, what: str) -> list[Found]:
    """The files that uv chose. Its answer is not trusted: what was built there could have written it."""
    try:
        content = json.loads(answer)
        for package in content.get("packages", ()):
            _leave_out_unreadable(package)
        lock = Pylock.from_dict(content)
    except (PylockValidationError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise BuildFailed(
            f"{what}: uv's answer cannot be read: {error}",
            hint="where one package is named, ask for another version of it under 'constraints'",
        ) from None
    _check_wishes(lock, request, what)
    return [_choose(lock, package, routes, request, what) for package in lock.packages]


def _check_wishes(lock: Pylock, request: Request, what: str) -> None:
    """What was asked for is there, and in such a version; a wish with a marker is uv's to judge."""
    found = {canonicalize_name(package.name): package.version for package in lock.packages}
    for lines, must in ((request.packages, True), (request.constraints, False)):
        for line in lines:
            wish = Requirement(line)
            version = found.get(canonicalize_name(wish.name))
            if wish.marker or (version is None and not must):
                continue
            if version is None or not wish.specifier.contains(version, prereleases=True):
                raise BuildFailed(
                    f"{what}: uv's answer is not what was asked for: {line}, and it has {version or 'none'}",
                    hint="a package that is built to be asked may have changed it: look at the log",
                )


def _leave_out_unreadable(package: dict[str, Any]) -> None:
    """One name that packaging cannot read (``a-1.tar.bz2``) would make it refuse the whole lock."""
    sdist = package.get("sdist")
    for file in (*package.get("wheels", ()), *filter(None, [sdist])):
        file.pop("upload-time", None)  # which is no text there
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


def _choose(
    lock: Pylock, package: Package, routes: Mapping[str, IndexRoute], request: Request, what: str
) -> Found:
    """The file that pip would take, and what its index said of it."""
    version = str(package.version or "")
    # Of several builds the last: packaging takes the first of those that fit equally well.
    wheels = sorted(
        package.wheels or (), key=lambda wheel: parse_wheel_filename(wheel.filename)[2], reverse=True
    )
    # uv has looked at markers and versions of Python for the image; packaging would ask this machine.
    plain = replace(package, marker=None, requires_python=None, wheels=wheels or None)
    alone = replace(lock, requires_python=None, packages=[plain])
    try:
        ((_, file),) = alone.select(tags=request.interpreter.tags())
    except PylockSelectError:
        python, machine = ".".join(map(str, request.interpreter.python)), request.interpreter.machine
        raise BuildFailed(
            f"{what}: {package.name} {version} has no file for Python {python} on {machine}",
            hint="ask for another version under 'constraints'",
        ) from None
    home = index_of(package.name, request.indexes or {})
    name = getattr(file, "filename", "")
    of_index = routes[home].file(package.name, name)
    if not isinstance(file, (PackageWheel, PackageSdist)) or of_index is None:
        raise BuildFailed(f"{what}: {package.name} {version} is no file that its index has: {name[:100]!r}")
    sha256 = routes[home].sha256(package.name, name)
    if not sha256:
        raise BuildFailed(
            f"{what}: the index gives no sha256 of {name}",
            hint="name another index, or a mirror, in site.yaml",
        )
    return Found(
        name=package.name, version=version, filename=name, sha256=sha256, bytes=of_index.size or 0, index=home
    )


def _failure(
    lines: Sequence[str], what: str, means: Means, left_out: Sequence[tuple[str, str]] = ()
) -> BuildFailed:
    """What uv's last lines mean, where an index names files that were left out."""
    tail = lines[-15:]
    if not any(_UNSOLVABLE in line for line in lines):
        said = first_words(lines, "error:", "cause:")
        return BuildFailed(
            f"{what}: uv cannot use what the indexes give: {said}",
            hint="ask for another version under 'constraints', or name a mirror in site.yaml",
            tail=tail,
            log=means.log.path,
        )
    hint = "uv's reasons stand above; loosen the requirements, or add 'constraints'"
    if left_out:
        name, why = left_out[0]
        hint += f"\nfiles of {name} were left out: {why}"
    return Unsolvable(
        f"{what}: these Python packages cannot be had together", hint=hint, tail=tail, log=means.log.path
    )
