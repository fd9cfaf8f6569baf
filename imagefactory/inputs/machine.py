"""What a VM base is made of: the packages that a machine needs, some of them from newer releases, and those
that bring libraries of their own.
"""

from __future__ import annotations

import functools
import shlex
from collections.abc import Mapping

from imagefactory.errors import BuildFailed
from imagefactory.inputs.asking import answer_of
from imagefactory.inputs.debian import (
    LIMITS,
    LIST_PACKAGES,
    MAX_ANSWER,
    OTHER,
    bootstrap,
    bootstrap_failure,
    keyrings,
    parse_uris,
    relayed,
)
from imagefactory.inputs.protocol import Means
from imagefactory.model.lock import AptFile, Lock, StageLock
from imagefactory.model.recipe import BaseImage
from imagefactory.sandbox import MANY, Errand

PATCHER = "patchelf"
"""The package whose program tells others where their own libraries are. No VM base has it."""
# Nothing comes from a newer release but what is asked for from there, and what only that has. What is private
# is not installed, so that apt chooses nothing from its release.
_PINS = "Package: *\nPin: release n={suite}\nPin-Priority: {priority}\n\n"
_NEWER, _NEVER = 50, -1
_LIST = """\
export APT_CONFIG=$MMDEBSTRAP_APT_CONFIG
list() {{
    file=$1
    shift
    apt-get -q --print-uris -o Acquire::ForceHash=SHA256 "$@" >>"$file" && return
    tail -n 20 "$file" # which holds apt's reasons
    exit 100
}}
list /job/uris install --yes --no-install-recommends {packages}
{private}
"""
_BETWEEN = "private:\n"


def lock_machine(base: BaseImage, request: str, means: Means) -> Lock:
    """The packages that a VM base is made of today. Raises BuildFailed, or a kind of it.

    Its minimum is installed, in a sandbox; of the others apt is only asked which they are.
    """
    assert base.machine
    means.log.step(f"resolve {base.release}")
    newer, private = base.machine.newer, base.machine.private_releases
    pins = dict.fromkeys(private.values(), _NEVER) | dict.fromkeys(newer, _NEWER)
    found = relayed(base.release, f"VM base {base.name}", means, sorted(pins), base.components)
    asked = [*base.packages, *(f"{name}/{suite}" for suite, names in newer.items() for name in names)]
    keys, options = keyrings(base)
    words = [
        "--format=null",
        '--setup-hook=mkdir -p "$1/etc/apt/preferences.d" && cp /in/pins "$1/etc/apt/preferences.d/newer"',
        f'--customize-hook=sh -c {shlex.quote(LIST_PACKAGES)} sh "$1" /job/uris',
        "--customize-hook=sh -eu /in/list.sh",
        *options,
        "--aptopt=Acquire::Retries 2",
        *(base.release.suite, "/dev/null", "/in/sources.list"),
    ]
    inputs = {
        "sources.list": "".join(f"{line}\n" for line in found.lines).encode(),
        "pins": "".join(_PINS.format(suite=suite, priority=pins[suite]) for suite in sorted(pins)).encode(),
        "list.sh": _LIST.format(packages=shlex.join(asked), private=_download(private)).encode(),
        **keys,
    }
    script = bootstrap(base.model_copy(update={"packages": ()}), words)
    script += f"\n{{ cat /job/uris; echo {_BETWEEN.strip()}; cat /job/private; }} >&3\n"
    errand = Errand(f"VM base {base.name}", script, inputs, {}, LIMITS, found.relay, MANY)
    written = answer_of(errand, means, functools.partial(bootstrap_failure, base), MAX_ANSWER, whole=True)
    installed, _, beside = written.decode("utf-8", "replace").partition(_BETWEEN)
    # What is named later takes the place of the same package in the minimum.
    files = {file.name: file for file in parse_uris(installed, found.places)}
    tools = {file.name: file for file in parse_uris(beside, found.places)}
    if tools.keys() != ({*private, PATCHER} if private else set()):
        raise BuildFailed(f"VM base {base.name}: apt names other packages than it was asked for", hint=OTHER)
    return Lock(request=request, image=_in_order(files), tools=_in_order(tools))


def _download(private: Mapping[str, str]) -> str:
    """The command that lists what is private, and what it takes to lay it out."""
    if not private:
        return ": >/job/private"
    names = [*(f"{name}/{suite}" for name, suite in sorted(private.items())), PATCHER]
    return f"list /job/private download {shlex.join(names)}"


def _in_order(files: Mapping[str, AptFile]) -> StageLock:
    return StageLock(apt=tuple(files[name] for name in sorted(files)))
