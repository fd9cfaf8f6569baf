"""Debian packages, resolved by apt itself in the base image."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence

from imagefactory.errors import BuildFailed, DiskFull, Gone, NetworkFault, Unsolvable
from imagefactory.inputs.debian import (
    OTHER_ARCHIVE,
    archives,
    default_sources,
    parse_uris,
    relayed,
    wrong_in_archives,
)
from imagefactory.inputs.mirrors import fetch_checked
from imagefactory.inputs.protocol import PACKAGES, Means, Origin, Staged, Wanted
from imagefactory.model.expected import Expected
from imagefactory.model.lock import AptFile, Stage
from imagefactory.model.recipe import Release
from imagefactory.model.spec import ImageDefinition

_STAGES: tuple[Stage, ...] = ("image", "build", "tools")

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

_INSTALL = """\
# Debian packages of the stage '{stage}', from files alone.
set -eu
export DEBIAN_FRONTEND=noninteractive
apt-get -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= -o APT::Sandbox::User=root \\
    install --yes --no-install-recommends --allow-downgrades {folder}/*.deb
rm -f /var/cache/apt/*.bin  # apt 3 writes them all the same
{no_setuid}"""

_INSTALL_UNPINNED = """\
# Debian packages of the stage '{stage}', as the archive has them when this runs.
set -eu
export DEBIAN_FRONTEND=noninteractive
apt-get update
apt-get install --yes --no-install-recommends {names}
apt-get clean
rm -rf /var/lib/apt/lists/*
{no_setuid}"""

_NO_SETUID = """\
# Nobody in a container needs to become another user. Apptainer builds with this machine's /tmp: not there.
find /bin /sbin /lib /usr /opt -xdev -type f -perm /6000 -exec chmod a-s {} +
"""


class Apt:
    """Debian packages: apt resolves them, and installs them from files."""

    name = "apt"

    def lock(self, wanted: Wanted, means: Means) -> Mapping[Stage, Sequence[AptFile]]:
        """What apt in the base image would install, beyond what that holds already."""
        image = wanted.image
        requests = _requests(image)
        if not any(requests.values()):
            return {}
        means.log.step("resolve apt packages")
        words = {stage: "".join(f" {shlex.quote(name)}" for name in requests[stage]) for stage in _STAGES}
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
            for stage in _STAGES
        }
        there = {file.sha256 for file in stages["image"]}
        return {
            "image": stages["image"],
            "build": [file for file in stages["build"] if file.sha256 not in there]
            if requests["build"]
            else [],
            "tools": [file for file in stages["tools"] if file.sha256 not in there]
            if requests["tools"]
            else [],
        }

    def fetch(self, file: AptFile, what: str, origin: Origin, means: Means) -> str:
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

    def stage(self, file: AptFile) -> Staged:
        """All in one folder."""
        return Staged(f"apt/{file.filename}", file.sha256)

    def install(self, files: Sequence[AptFile], image: ImageDefinition, stage: Stage) -> str:
        """Apt orders them, and runs without network."""
        script = _INSTALL.format(stage=stage, folder=f"{PACKAGES}/apt", no_setuid=_NO_SETUID)
        return script if files else ""

    def install_unpinned(self, image: ImageDefinition, stage: Stage) -> str:
        """As they are chosen to lock them, by apt. Steps that need tools install those themselves."""
        names = " ".join(_requests(image)[stage]) if stage != "tools" else ""
        script = _INSTALL_UNPINNED.format(stage=stage, names=names, no_setuid=_NO_SETUID)
        return script if names else ""


def _requests(image: ImageDefinition) -> dict[Stage, list[str]]:
    """The packages asked for, by stage."""
    ours = set(image.inputs.apt)
    if image.inputs.pip and image.inputs.pip.python == "base":
        ours.add("python3")  # whose virtual environment the packages live in
    # The tools that install Python and conda packages are Python programs.
    tools = {"python3"} if image.inputs.conda or image.inputs.pip else set()
    if image.inputs.conda:
        tools.add("ca-certificates")  # rattler starts a client for the web, which ends it where it finds none
    return {
        "image": sorted(ours),
        "build": sorted(set(image.build_inputs.apt) if image.build_inputs else ()),
        "tools": sorted(tools),
    }


def _before(wanted: Wanted) -> list[AptFile]:
    return [file for stage in _STAGES for file in wanted.before("apt", stage)]


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
