"""What a base image that is taken from a registry consists of, and whether images can be built on it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import get_args

from pydantic import ValidationError

from imagefactory.errors import BuildFailed, DiskFull
from imagefactory.inputs.debian import default_sources
from imagefactory.inputs.protocol import Means
from imagefactory.inputs.registry import resolve_image
from imagefactory.model.lock import HeldPackage, Lock, StageLock, System
from imagefactory.model.recipe import BaseImage, Distribution, Release

AskDraft = Callable[[Lock, Mapping[str, bytes]], Mapping[str, bytes]]
"""Runs the shell script ``ask.sh`` as root in the tree of the image that a lock names, in a sandbox without
network. Returns what it wrote to ``answer/``, by name."""

_NEEDED = "apt-get dpkg-query bash find sed useradd"
_ASK = f"""\
set -eu
for program in {_NEEDED}; do
    command -v "$program" >/dev/null || echo "$program"
done >answer/missing
if [ -r /etc/os-release ]; then cat /etc/os-release >answer/os-release; fi
if command -v dpkg-query >/dev/null; then
    dpkg-query --show --showformat '${{db:Status-Status}} ${{Package}} ${{Version}}\\n' >answer/packages
fi
"""
_NO_SHELL = re.compile(r"/bin/sh\W+.*(no such file|not found)", re.IGNORECASE)
_HINT = "choose an image of Debian or Ubuntu that has apt, or build on one of this repository's base images"


def lock_upstream(base: BaseImage, request: str, means: Means, ask: AskDraft) -> Lock:
    """The parts of the image that a base image is taken from, fetched, and what it holds.

    Raises BuildFailed, or a kind of it, also where no image could be built on it.
    """
    assert base.upstream
    means.log.step(f"resolve {base.upstream}")
    found = resolve_image(base.upstream, base.name, means.platform, means)
    files = sorted(found, key=lambda file: (file.name, file.version, file.file))
    draft = Lock(request=request, image=StageLock(blobs=tuple(files)))
    what = f"base_images/{base.name}: {base.upstream}"
    try:
        answer = ask(draft, {"ask.sh": _ASK.encode()})
    except DiskFull:
        raise
    except BuildFailed as error:
        if _NO_SHELL.search("\n".join((error.message, *error.tail))):
            raise BuildFailed(f"{what}: no image can be built on it: it has no shell", hint=_HINT) from None
        raise
    system = read_system(answer, what)
    return Lock(request=request, image=draft.image, system=system)


def read_system(answer: Mapping[str, bytes], what: str) -> System:
    """What an image answered. Raises BuildFailed where no image can be built on it."""
    files = {name: data.decode("utf-8", "replace") for name, data in answer.items()}
    if missing := files.get("missing", _NEEDED).split():
        raise BuildFailed(f"{what}: no image can be built on it: it lacks {', '.join(missing)}", hint=_HINT)
    said = dict(re.findall(r"(?m)^(\w+)=[\"']?([^\"'\n]*)", files.get("os-release", "")))
    distribution = next((name for name in get_args(Distribution) if name == said.get("ID")), None)
    suite = said.get("VERSION_CODENAME", "")
    if not distribution or not re.fullmatch(r"[a-z]+", suite):
        system = f"{said.get('ID', 'something')} {suite or said.get('VERSION_ID', '')}".strip()
        raise BuildFailed(
            f"{what}: no image can be built on it: its /etc/os-release says that it is {system}, "
            "no release of Debian or Ubuntu",
            hint=_HINT,
        )
    default_sources(Release(distribution, suite))  # apt's packages come from there
    lines = (line.split(" ") for line in files.get("packages", "").splitlines())
    held = {line[1]: line[2] for line in lines if len(line) == 3 and line[0] == "installed"}
    try:
        packages = [HeldPackage(name=name, version=version) for name, version in sorted(held.items())]
    except ValidationError:
        raise BuildFailed(f"{what}: what it says of its packages cannot be read", hint=_HINT) from None
    return System(distribution=distribution, suite=suite, packages=tuple(packages))
