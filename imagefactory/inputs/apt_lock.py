"""Debian packages, resolved by apt itself in the base image, and fetched from their archives."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence

from imagefactory.errors import BuildFailed, DiskFull, Gone, NetworkFault, Unsolvable
from imagefactory.inputs.apt import STAGES, requested
from imagefactory.inputs.debian import (
    OTHER_ARCHIVE,
    archives,
    default_sources,
    parse_uris,
    relayed,
    wrong_in_archives,
)
from imagefactory.inputs.mirrors import fetch_checked
from imagefactory.inputs.protocol import Means, Origin, Wanted
from imagefactory.model.expected import Expected
from imagefactory.model.lock import AptFile, Stage
from imagefactory.model.recipe import Release
from imagefactory.model.spec import ImageDefinition

# Each stage asks for its own packages on top of exactly those of the image.
_ASK = """\
set -eu
ask() {{
    answer=answer/$1
    shift
    apt-get -q --print-uris -o Acquire::ForceHash=SHA256 install --yes --no-install-recommends "$@" \\
        >"$answer" && return
    cat "$answer" # which holds apt's reasons
    exit 100
}}
apt-get update -qq --error-on=any
ask image{image}
pins=$(sed -n "s/%3a/:/; s/^'[^']*' \\([^_]*\\)_\\([^_]*\\)_\\([^_]*\\)\\.deb .*/\\1:\\3=\\2/p" answer/image)
# shellcheck disable=SC2086  # words
ask build $pins{build}
# shellcheck disable=SC2086
ask tools $pins{tools}
"""

_SETTINGS = """\
Dir::Etc::sourcelist "/ask/sources.list";
Dir::Etc::sourceparts "-";
Dir::Etc::preferences "/ask/preferences";
APT::Sandbox::User "root";
Acquire::Languages "none";
"""


def lock_apt(wanted: Wanted, means: Means) -> Mapping[Stage, Sequence[AptFile]]:
    """What apt in the base image would install, beyond what that holds already."""
    image = wanted.image
    requests = requested(image)
    means.log.step("resolve apt packages")
    words = {stage: "".join(f" {shlex.quote(name)}" for name in requests[stage]) for stage in STAGES}
    pins = [f"Package: {f.name}\nPin: version {f.version}\nPin-Priority: 1001\n" for f in _before(wanted)]
    release = wanted.release
    found = relayed(release, f"recipes/{image.recipe}: {image.id}: apt packages", means)
    files = {
        "ask.sh": _ASK.format(**words).encode(),
        "preferences": "\n".join(pins).encode(),
        "sources.list": "".join(f"{line}\n" for line in found.lines).encode(),
        "apt.conf": _SETTINGS.encode(),
    }
    try:
        answer = wanted.ask_base(files, found.relay)
    except (NetworkFault, DiskFull):
        raise
    except BuildFailed as error:
        if error is found.relay.fault:
            raise
        raise _explained(error, image, release) from None
    stages = {
        stage: list(parse_uris(answer.get(stage, b"").decode("utf-8", "replace"), found.places))
        for stage in STAGES
    }
    there = {file.sha256 for file in stages["image"]}
    return {
        "image": stages["image"],
        "build": [file for file in stages["build"] if file.sha256 not in there] if requests["build"] else [],
        "tools": [file for file in stages["tools"] if file.sha256 not in there] if requests["tools"] else [],
    }


def fetch_apt(file: AptFile, what: str, origin: Origin, means: Means) -> str:
    """From the archive, or the site's mirrors of it."""
    release = origin.release
    known = archives(default_sources(release))
    if file.archive not in known:
        raise BuildFailed(f"{what}: {release} has no archive called {file.archive}")
    try:
        url = f"{known[file.archive]}/{file.file}"
        fetch_checked(url, Expected(what, file.sha256, file.bytes), means)
    except Gone as error:
        name = origin.image.recipe if origin.image else origin.base.base.name
        error.hint = (
            f"the archive has moved on: imagefactory lock --upgrade {name} takes what it has today, "
            "or name a mirror that keeps old files in site.yaml"
        )
        raise
    return file.sha256


def _before(wanted: Wanted) -> list[AptFile]:
    return [file for stage in STAGES for file in wanted.before("apt", stage)]


def _explained(error: BuildFailed, image: ImageDefinition, release: Release) -> BuildFailed:
    """Apt's own words say what is wrong; where to mend it is ours to say."""
    said = "\n".join(error.tail)
    missing = re.search(r"E: Unable to locate package (\S+)", said)
    if missing:
        distribution = release.distribution.capitalize()
        return Unsolvable(
            f"recipes/{image.recipe}: {image.id}: {distribution} has no package called {missing[1]}",
            hint="check 'apt' in the recipe: apt-cache search finds names",
        )
    if wrong := wrong_in_archives(error.tail):
        return BuildFailed(
            f"recipes/{image.recipe}: {image.id}: the archives cannot be used: {wrong}",
            hint=OTHER_ARCHIVE,
            tail=error.tail,
            log=error.log,
        )
    return Unsolvable(
        f"recipes/{image.recipe}: {image.id}: apt cannot install these packages together",
        hint="apt's reasons stand above",
        tail=error.tail,
        log=error.log,
    )
