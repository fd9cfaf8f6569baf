"""conda packages, solved and installed by rattler, in /opt/conda."""

from __future__ import annotations

import json
import re
from collections.abc import Container, Mapping, Sequence
from importlib.resources import files as files_in
from importlib.util import find_spec
from pathlib import Path

from pydantic import ValidationError

from imagefactory.errors import BuildFailed, Gone, Unsolvable
from imagefactory.inputs.asking import answer_of, first_words
from imagefactory.inputs.mirrors import fetch_checked
from imagefactory.inputs.protocol import PACKAGES, TOOLS, Means, Origin, Staged, Wanted
from imagefactory.inputs.unpinned import BEGIN
from imagefactory.model.expected import Expected
from imagefactory.model.lock import CondaFile, Stage
from imagefactory.model.recipe import channel_address
from imagefactory.model.spec import ImageDefinition
from imagefactory.sandbox import Errand, Limits, Relay, host_python, route_to
from imagefactory.system.web import public_certificates

PREFIX = "/opt/conda"
INSTALLER = "py-rattler>=0.28"
_SCRATCH = "/tmp/installer /tmp/files /tmp/cache /tmp/home"  # noqa: S108  # in a container
_PLATFORMS = {"linux/amd64": "linux-64", "linux/arm64": "linux-aarch64"}
_SCRIPT = """\
"$PYTHON" -I -B /in/solver.py /in/question.json >&3
"""
_LIMITS = Limits(seconds=1800, disk=8 << 30)
_MAX_ANSWER = 64 << 20
_UNSOLVABLE = "SolverError:"
_OTHER = "look at the channel, or name another one, or a mirror of it in site.yaml"

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
        inputs = wanted.image.inputs.conda
        if not inputs:
            return {}
        means.log.step("solve conda packages")
        what = f"recipes/{wanted.image.recipe}: {wanted.image.id}: conda packages"
        homes = {name: channel_address(name) for name in inputs.channels}
        places = {name: means.site.addresses(home)[0] for name, home in homes.items()}
        before = [f"{f.name} =={f.version} {f.build}" for f in wanted.before("conda", "image")]
        relay = Relay()
        question = {
            # Only what describes the channels is read here, and that comes from nowhere else.
            "channels": [(name, relay.add(route_to(p.url, means.web, what))) for name, p in places.items()],
            "specs": list(inputs.packages),
            "platform": _PLATFORMS[wanted.base.platform],
            "virtual": {**_virtual_packages(wanted.image), "__glibc": _glibc(wanted)},
            "locked": before,
        }
        stand_ins = {name for name, place in places.items() if place.stand_in is not None}
        files = _read(_ask(question, relay, what, means), what, homes.keys(), stand_ins)
        return {"image": files}

    def fetch(self, file: CondaFile, what: str, origin: Origin, means: Means) -> str:
        """From its channel, or the site's mirrors of it."""
        url = f"{channel_address(file.channel)}/{file.file}"
        try:
            fetch_checked(url, Expected(what, file.sha256, file.bytes or None), means)
        except Gone as error:
            name = origin.image.recipe if origin.image else ""
            error.hint = (
                f"the channel has moved on: imagefactory lock --upgrade {name} takes what it has today"
            )
            raise
        return file.sha256

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
            virtual=json.dumps(_virtual_packages(image)),
            finish=_FINISH.format(prefix=PREFIX, scratch='"$work"'),
        )


def _virtual_packages(image: ImageDefinition) -> dict[str, str]:
    """What packages may ask of the system (https://docs.conda.io, "virtual packages"), but for its libc."""
    virtual = {"__unix": "0", "__linux": "5.4", "__archspec": "1"}
    gpu = image.needs.gpu
    return {**virtual, "__cuda": gpu.cuda} if gpu else virtual


def _glibc(wanted: Wanted) -> str:
    """The version of the base image's libc."""
    found = wanted.base_lock.system_packages.get("libc6", "2.17")
    return found.partition("-")[0]


def _ask(question: Mapping[str, object], relay: Relay, what: str, means: Means) -> bytes:
    """What rattler answers, in a sandbox: it reads what channels say."""
    rattler = find_spec("rattler")
    assert rattler
    assert rattler.origin
    inputs: dict[str, bytes | Path] = {
        "question.json": json.dumps(question).encode(),
        "solver.py": (files_in(__package__) / "conda_solver.py").read_bytes(),
        "rattler": Path(rattler.origin).parent,
        "certificates": public_certificates(),
    }
    # It starts no client for the web without certificates, though it needs none here.
    environment = {"PYTHON": str(host_python()), "SSL_CERT_FILE": "/in/certificates"}
    errand = Errand(what, _SCRIPT, inputs, environment, _LIMITS, relay)
    return answer_of(errand, means, _failure, _MAX_ANSWER)


def _read(answer: bytes, what: str, channels: Container[str], stand_ins: Container[str]) -> list[CondaFile]:
    """The packages of an answer, which is not trusted: it must be of these channels, and have a sha256."""
    try:
        rows = [{**row, "stand_in": row["channel"] in stand_ins} for row in json.loads(answer)]
        return [_file(row, what, channels) for row in rows]
    except (ValueError, TypeError, LookupError, RecursionError):
        raise BuildFailed(f"{what}: the solver's answer is none that can be read", hint=_OTHER) from None


def _file(row: Mapping[str, object], what: str, channels: Container[str]) -> CondaFile:
    if row["channel"] not in channels:
        raise BuildFailed(f"{what}: {str(row['name'])[:100]!r} is of none of the recipe's channels")
    shown, place = repr(str(row["file"])[:200]), row["channel"]
    if row["sha256"] == "":
        raise BuildFailed(f"{what}: the channel {place} gives no sha256 for {shown}", hint=_OTHER)
    try:
        return CondaFile.model_validate(row)
    except ValidationError as error:
        field = ".".join(map(str, error.errors()[0]["loc"]))
        raise BuildFailed(
            f"{what}: the channel {place} says of {shown} what can be of no package: its {field}", hint=_OTHER
        ) from None


def _failure(lines: Sequence[str], what: str, means: Means) -> BuildFailed:
    if not any(line.startswith(_UNSOLVABLE) for line in lines):
        said = first_words(lines, r"\w*(?:Error|Exception):", "Caused by:")
        return BuildFailed(
            f"{what}: rattler cannot use what the channels give: {said}",
            hint=_OTHER,
            tail=lines[-20:],
            log=means.log.path,
        )
    return Unsolvable(
        f"{what}: these packages cannot be had together",
        hint="the solver's reasons stand above; loosen the versions, or name another channel",
        tail=lines[-20:],
        log=means.log.path,
    )
