"""Which Python packages an image gets, and what installs and builds them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from packaging.utils import canonicalize_name

from imagefactory.errors import BuildFailed
from imagefactory.inputs.conda import INSTALLER
from imagefactory.inputs.index import default_index, file_address
from imagefactory.inputs.mirrors import fetch_checked
from imagefactory.inputs.protocol import Means, Wanted
from imagefactory.inputs.uv import Found, Request, resolve
from imagefactory.inputs.wheels import Interpreter, build_requires
from imagefactory.model.expected import Expected
from imagefactory.model.lock import PipFile, Stage, StageLock
from imagefactory.model.recipe import PipIndex
from imagefactory.system.store import place_file
from imagefactory.system.versions import numbers


def lock_pip(wanted: Wanted, means: Means) -> Mapping[Stage, Sequence[PipFile]]:
    """The packages, and under ``tools`` what installs and builds them.

    Raises BuildFailed, or a kind of it.
    """
    inputs = wanted.image.inputs
    means.log.step("resolve Python packages")
    what = f"recipes/{wanted.image.recipe}: {wanted.image.id}: Python packages"
    of_base = python_of(wanted)
    interpreter = _of_conda(wanted, of_base) if inputs.pip and inputs.pip.python == "conda" else of_base
    indexes = inputs.pip.indexes if inputs.pip else {}
    files: list[Found] = []
    if inputs.pip:
        request = Request(
            inputs.pip.packages,
            interpreter,
            inputs.pip.constraints,
            indexes,
            {f.name: f.version for f in wanted.before("pip", "image")},
        )
        files = resolve(request, what, means)
    image = [_pinned(file, indexes, what, means) for file in files]
    builders = _builders(image, indexes, what, means)
    installers = sorted({"uv"} if image else set()) + ([INSTALLER] if inputs.conda else [])
    # What builds runs with the image's Python, what installs with the base image's.
    wishes = [(interpreter, sorted({*builders, *installers}))]
    if interpreter != of_base:
        wishes = [(of_base, installers), (interpreter, builders)]
    preferred = {f.name: f.version for f in wanted.before("pip", "tools")}
    tools: dict[str, PipFile] = {}
    for python, packages in wishes:
        request = Request(packages, python, preferred=preferred, wheels_only=True)
        for file in resolve(request, f"{what}, to install with", means) if packages else ():
            tools[file.filename] = _pinned(file, {}, what, means)
    return {"image": image, "tools": list(tools.values())}


def _of_conda(wanted: Wanted, base: Interpreter) -> Interpreter:
    """The Python that conda brings, on the base image's C library."""
    packages = wanted.so_far.get("image", StageLock()).conda
    python = next((numbers(file.version)[:2] for file in packages if file.name == "python"), ())
    if len(python) < 2:
        raise BuildFailed(f"{wanted.image.id}: there is no python among its conda packages")
    return replace(base, python=(python[0], python[1]))


def python_of(wanted: Wanted) -> Interpreter:
    """The Python of the base image, or the one that apt brings there."""
    versions = wanted.base_lock.system_packages
    for stage in ("image", "tools"):
        versions |= {file.name: file.version for file in wanted.so_far.get(stage, StageLock()).apt}
    python, glibc = (numbers(versions.get(name, ""))[:2] for name in ("python3", "libc6"))
    if len(python) < 2 or len(glibc) < 2:
        raise BuildFailed(f"base image {wanted.base.base.name}: it has no python3 or no libc6")
    machine = {"amd64": "x86_64", "arm64": "aarch64"}[wanted.base.platform.rpartition("/")[2]]
    return Interpreter((python[0], python[1]), (glibc[0], glibc[1]), machine)


def _builders(
    image: Iterable[PipFile], indexes: Mapping[str, PipIndex], what: str, means: Means
) -> list[str]:
    """The requirements of what source distributions are built with."""
    wanted: set[str] = set()
    for file in image:
        if not file.filename.endswith(".whl"):
            _have(file, indexes, what, means)
            packed = means.scratch / "sdist"
            place_file(means.store, file.sha256, packed, f"{what}: the store's {file.name} {file.version}")
            wanted |= set(build_requires(packed, file.filename, what))
            packed.unlink()
    return sorted(wanted)


def _pinned(file: Found, indexes: Mapping[str, PipIndex], what: str, means: Means) -> PipFile:
    home = indexes[file.index].url if file.index else default_index(means)
    pinned = PipFile(
        name=canonicalize_name(file.name),
        version=file.version,
        file=f"{canonicalize_name(file.name)}/{file.filename}",
        bytes=file.bytes,
        sha256=file.sha256,
        index=file.index,
        stand_in=means.site.stand_in(home.rstrip("/")) is not None,
    )
    if not file.bytes:  # the index does not say: the file itself does
        _have(pinned, indexes, what, means)
        size = means.store.checked_size(file.sha256, f"{what}: the store's {file.name} {file.version}")
        pinned = pinned.model_copy(update={"bytes": size})
    return pinned


def _have(file: PipFile, indexes: Mapping[str, PipIndex], what: str, means: Means) -> None:
    if not means.store.has(file.sha256):
        url, home = file_address(file.name, file.filename, file.index, indexes, what, means)
        expected = Expected(f"{what}: {file.name}", file.sha256, file.bytes or None)
        fetch_checked(url, expected, means, named_by=home)
