"""Debian packages, installed from files by apt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from imagefactory.inputs.protocol import PACKAGES, Means, Origin, Staged, Wanted
from imagefactory.model.lock import AptFile, Stage
from imagefactory.model.spec import ImageDefinition

STAGES: tuple[Stage, ...] = ("image", "build", "tools")

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
        if not any(requested(wanted.image).values()):
            return {}
        from imagefactory.inputs.apt_lock import lock_apt  # starts slowly, and few commands lock

        return lock_apt(wanted, means)

    def fetch(self, file: AptFile, what: str, origin: Origin, means: Means) -> str:
        """From the archive, or the site's mirrors of it."""
        from imagefactory.inputs.apt_lock import fetch_apt

        return fetch_apt(file, what, origin, means)

    def stage(self, file: AptFile) -> Staged:
        """All in one folder."""
        return Staged(f"apt/{file.filename}", file.sha256)

    def install(self, files: Sequence[AptFile], image: ImageDefinition, stage: Stage) -> str:
        """Apt orders them, and runs without network."""
        script = _INSTALL.format(stage=stage, folder=f"{PACKAGES}/apt", no_setuid=_NO_SETUID)
        return script if files else ""

    def install_unpinned(self, image: ImageDefinition, stage: Stage) -> str:
        """As they are chosen to lock them, by apt. Steps that need tools install those themselves."""
        names = " ".join(requested(image)[stage]) if stage != "tools" else ""
        script = _INSTALL_UNPINNED.format(stage=stage, names=names, no_setuid=_NO_SETUID)
        return script if names else ""


def requested(image: ImageDefinition) -> dict[Stage, list[str]]:
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
