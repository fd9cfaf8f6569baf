"""Python packages, resolved by uv for the base image's Python, and installed by uv in /opt/venv."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from packaging.utils import canonicalize_name

from imagefactory.errors import BuildFailed
from imagefactory.inputs.index import default_index, file_address
from imagefactory.inputs.mirrors import fetch_checked
from imagefactory.inputs.protocol import PACKAGES, TOOLS, Means, Origin, Staged, Wanted
from imagefactory.inputs.uv import Found, Request, resolve
from imagefactory.inputs.wheels import Target, build_requires
from imagefactory.model.expected import Expected
from imagefactory.model.lock import PipFile, Stage, StageLock
from imagefactory.model.recipe import PipIndex
from imagefactory.model.spec import ImageDefinition
from imagefactory.system.versions import numbers

VENV = "/opt/venv"
CONDA_INSTALLER = "py-rattler>=0.28"

_INSTALL = """\
# Python packages in /opt/venv, from files alone.
set -eu
export PYTHONHASHSEED=0 UV_CACHE_DIR=/tmp/cache UV_NO_CONFIG=1 UV_OFFLINE=1 HOME=/tmp/home
mkdir -p "$HOME"
python3 -m zipfile -e {tools}/uv-*.whl /tmp/uv
uv=$(echo /tmp/uv/uv-*.data/scripts/uv)
chmod +x "$uv"
"$uv" venv --quiet --python=/usr/bin/python3 {venv}
cat >/tmp/requirements.txt <<'END'
{requirements}
END
"$uv" pip install --quiet --python={venv}/bin/python --no-index --no-deps --require-hashes \\
    --find-links={packages} --find-links={tools} --link-mode=hardlink --requirement=/tmp/requirements.txt
# uv notes for its cache when each file was made, which is now.
find {venv} -name uv_cache.json -path '*.dist-info/*' -delete
find {venv} -name RECORD -path '*.dist-info/*' -exec sed -i '/\\.dist-info\\/uv_cache\\.json,/d' {{}} +
# Compiled now, for nobody can write there later; without the time of the source file, which is now.
{venv}/bin/python -m compileall -qq -f --invalidation-mode=unchecked-hash {venv}/lib || :
rm -rf /tmp/uv /tmp/cache /tmp/home /tmp/requirements.txt {venv}/.lock {venv}/.gitignore {venv}/CACHEDIR.TAG
"""


class Pip:
    """Python packages, as wheels, or as source distributions that are built in the stage that installs."""

    name = "pip"

    def lock(self, wanted: Wanted, means: Means) -> Mapping[Stage, Sequence[PipFile]]:
        """The packages, and under ``tools`` what installs and builds them."""
        inputs = wanted.image.inputs
        if not inputs.pip and not inputs.conda:
            return {}
        means.log.step("resolve Python packages")
        what = f"recipes/{wanted.image.recipe}: {wanted.image.id}: Python packages"
        target = _target(wanted)
        indexes = inputs.pip.indexes if inputs.pip else {}
        files: list[Found] = []
        if inputs.pip:
            request = Request(
                inputs.pip.packages,
                target,
                inputs.pip.constraints,
                indexes,
                {f.name: f.version for f in wanted.before("pip", "image")},
            )
            files = resolve(request, what, means)
        image = [_pinned(file, indexes, what, means) for file in files]
        tools = _tools(image, bool(inputs.conda), indexes, what, means)
        preferred = {f.name: f.version for f in wanted.before("pip", "tools")}
        request = Request(tools, target, preferred=preferred, wheels_only=True)
        resolved = resolve(request, f"{what}, to install with", means)
        return {"image": image, "tools": [_pinned(file, {}, what, means) for file in resolved]}

    def fetch(self, file: PipFile, what: str, origin: Origin, means: Means) -> None:
        """From the place that the index names for a file of that name."""
        pip = origin.image.inputs.pip if origin.image else None
        url = file_address(file.name, file.filename, file.index, pip.indexes if pip else {}, what, means)
        fetch_checked(url, Expected(what, file.sha256, file.bytes), means)

    def stage(self, file: PipFile) -> Staged:
        """All in one folder."""
        return Staged(f"pip/{file.filename}", file.sha256)

    def install(self, files: Sequence[PipFile], image: ImageDefinition, stage: Stage) -> str:
        """Each by its sha256, in an environment of its own."""
        if stage != "image" or not files:
            return ""
        lines = [f"{file.name}=={file.version} --hash=sha256:{file.sha256}" for file in files]
        return _INSTALL.format(
            venv=VENV, packages=f"{PACKAGES}/pip", tools=f"{TOOLS}/pip", requirements="\n".join(lines)
        )


def _target(wanted: Wanted) -> Target:
    """The Python of the base image, or the one that apt brings there."""
    packages = [*wanted.base_lock.image.apt]
    for stage in ("image", "tools"):
        packages += wanted.so_far.get(stage, StageLock()).apt
    versions = {file.name: file.version for file in packages}
    python, glibc = (numbers(versions.get(name, ""))[:2] for name in ("python3", "libc6"))
    if len(python) < 2 or len(glibc) < 2:
        raise BuildFailed(f"base image {wanted.base.base.name}: it has no python3 or no libc6")
    machine = {"amd64": "x86_64", "arm64": "aarch64"}[wanted.base.platform.rpartition("/")[2]]
    return Target((python[0], python[1]), (glibc[0], glibc[1]), machine)


def _tools(
    image: Iterable[PipFile], conda: bool, indexes: Mapping[str, PipIndex], what: str, means: Means
) -> list[str]:
    """The requirements of what installs: uv, what source distributions are built with, rattler."""
    wanted = {CONDA_INSTALLER} if conda else set()
    for file in image:
        wanted.add("uv")
        if not file.filename.endswith(".whl"):
            _have(file, indexes, what, means)
            wanted |= set(build_requires(means.store.path(file.sha256), file.filename))
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
        size = means.store.path(file.sha256).stat().st_size
        pinned = pinned.model_copy(update={"bytes": size})
    return pinned


def _have(file: PipFile, indexes: Mapping[str, PipIndex], what: str, means: Means) -> None:
    if not means.store.has(file.sha256):
        url = file_address(file.name, file.filename, file.index, indexes, what, means)
        fetch_checked(url, Expected(f"{what}: {file.name}", file.sha256, file.bytes or None), means)
