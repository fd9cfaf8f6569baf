"""conda packages, installed by rattler in /opt/conda."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

from imagefactory.inputs.protocol import PACKAGES, TOOLS, Means, Origin, Staged, Wanted
from imagefactory.inputs.unpinned import BEGIN
from imagefactory.model.lock import CondaFile, Stage
from imagefactory.model.recipe import channel_address
from imagefactory.model.spec import ImageDefinition

PREFIX = "/opt/conda"
INSTALLER = "py-rattler>=0.28"
_SCRATCH = "/tmp/installer /tmp/files /tmp/cache /tmp/home"  # noqa: S108  # in a container

_INSTALL = """\
# conda packages in {prefix}, from files alone.
set -eu
. /etc/imagefactory/environment.sh
export HOME=/tmp/home PYTHONHASHSEED=0 PYTHONDONTWRITEBYTECODE=1
mkdir -p "$HOME" /tmp/installer
for wheel in {tools}/*.whl; do
    case $wheel in */uv-*) ;; *) /usr/bin/python3 -m zipfile -e "$wheel" /tmp/installer ;; esac
done
cat >/tmp/files <<'END'
{files}
END
PYTHONPATH=/tmp/installer /usr/bin/python3 - <<'END'
import asyncio
import os
import rattler


async def main():
    with open("/tmp/files") as names:
        paths = ["{packages}/" + name for name in names.read().split()]
    records = [await rattler.RepoDataRecord.from_package_archive(path) for path in paths]
    await rattler.install(
        records, "{prefix}", cache_dir="/tmp/cache", execute_link_scripts=True, show_progress=False
    )


asyncio.run(main())
os._exit(0)  # at once: threads of rattler may still end, and Python would abort on that
END
{finish}"""

_INSTALL_UNPINNED = """\
# conda packages in {prefix}, as their channels have them when this runs.
set -eu
. /etc/imagefactory/environment.sh
{begin}export PYTHONDONTWRITEBYTECODE=1
/usr/bin/python3 -m pip install --quiet --target="$work/installer" '{installer}'
PYTHONPATH="$work/installer" /usr/bin/python3 - "$work/cache" <<'END'
import asyncio
import os
import platform
import sys
import rattler

CACHE = sys.argv[1]
CHANNELS = {channels}
PACKAGES = {packages}
VIRTUAL = {virtual}


async def main():
    virtual = VIRTUAL | {{"__glibc": platform.libc_ver()[1]}}
    records = await rattler.solve(
        [rattler.Channel(channel) for channel in CHANNELS],
        PACKAGES,
        gateway=rattler.Gateway(cache_dir=CACHE),
        platforms=[rattler.Subdir.current(), rattler.Subdir("noarch")],
        virtual_packages=[
            rattler.GenericVirtualPackage(
                rattler.PackageName(name), rattler.Version(version), rattler.BuildString("0")
            )
            for name, version in virtual.items()
        ],
        channel_priority=rattler.ChannelPriority.Strict,
    )
    await rattler.install(
        records, "{prefix}", cache_dir=CACHE, execute_link_scripts=True, show_progress=False
    )


asyncio.run(main())
os._exit(0)  # at once: threads of rattler may still end, and Python would abort on that
END
{finish}"""

_FINISH = """\
# Compiled now, for nobody can write there later; without the times of source files.
for python in {prefix}/bin/python3 {prefix}/bin/python; do
    if [ -x "$python" ]; then
        "$python" -m compileall -qq -f --invalidation-mode=unchecked-hash {prefix}/lib >/dev/null 2>&1 || :
        break
    fi
done
rm -rf {scratch}
rm -rf {prefix}/pkgs {prefix}/conda-meta/history {prefix}/CACHEDIR.TAG
chmod -R a+rX {prefix}
"""


class Conda:
    """conda packages: rattler solves and installs them."""

    name = "conda"

    def lock(self, wanted: Wanted, means: Means) -> Mapping[Stage, Sequence[CondaFile]]:
        """What fits together on the base image's system, to exact builds."""
        if not wanted.image.inputs.conda:
            return {}
        from imagefactory.inputs.conda_lock import lock_conda  # starts slowly, and few commands lock

        return lock_conda(wanted, means)

    def fetch(self, file: CondaFile, what: str, origin: Origin, means: Means) -> str:
        """From its channel, or the site's mirrors of it."""
        from imagefactory.inputs.conda_lock import fetch_conda

        return fetch_conda(file, what, origin, means)

    def stage(self, file: CondaFile) -> Staged:
        """Files of one name may come from several channels and platforms."""
        channel = re.sub(r"[^A-Za-z0-9.-]+", "_", file.channel)
        return Staged(f"conda/{channel}/{file.file}", file.sha256)

    def install(self, files: Sequence[CondaFile], image: ImageDefinition, stage: Stage) -> str:
        """All at once; their own link scripts run, as conda runs them."""
        if not files:
            return ""
        names = [self.stage(file).path.removeprefix("conda/") for file in files]
        return _INSTALL.format(
            prefix=PREFIX,
            packages=f"{PACKAGES}/conda",
            tools=f"{TOOLS}/pip",
            files="\n".join(names),
            finish=_FINISH.format(prefix=PREFIX, scratch=_SCRATCH),
        )

    def install_unpinned(self, image: ImageDefinition, stage: Stage) -> str:
        """As they are chosen to lock them, by rattler."""
        inputs = image.inputs.conda
        if stage != "image" or not inputs:
            return ""
        return _INSTALL_UNPINNED.format(
            begin=BEGIN,
            prefix=PREFIX,
            installer=INSTALLER,
            channels=json.dumps([channel_address(name) for name in inputs.channels]),
            packages=json.dumps(inputs.packages),
            virtual=json.dumps(virtual_packages(image)),
            finish=_FINISH.format(prefix=PREFIX, scratch='"$work"'),
        )


def virtual_packages(image: ImageDefinition) -> dict[str, str]:
    """What packages may ask of the system (https://docs.conda.io, "virtual packages"), but for its libc."""
    virtual = {"__unix": "0", "__linux": "5.4", "__archspec": "1"}
    gpu = image.needs.gpu
    return {**virtual, "__cuda": gpu.cuda} if gpu else virtual
