"""Python packages, resolved by uv for the image's Python, and installed by uv in /opt/venv."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from imagefactory.inputs.protocol import PACKAGES, TOOLS, Means, Origin, Staged, Wanted
from imagefactory.inputs.unpinned import BEGIN, python_project
from imagefactory.model.lock import PipFile, Stage
from imagefactory.model.spec import ImageDefinition

VENV = "/opt/venv"
_SCRATCH = "/tmp/uv /tmp/cache /tmp/home /tmp/requirements.txt"  # noqa: S108  # in a container

_INSTALL = """\
# Python packages in /opt/venv, from files alone.
set -eu
export PYTHONHASHSEED=0 UV_CACHE_DIR=/tmp/cache UV_NO_CONFIG=1 UV_OFFLINE=1 HOME=/tmp/home
mkdir -p "$HOME"
python3 -m zipfile -e {tools}/uv-*.whl /tmp/uv
uv=$(echo /tmp/uv/uv-*.data/scripts/uv)
chmod +x "$uv"
"$uv" venv --quiet --python={python} {venv}
cat >/tmp/requirements.txt <<'END'
{requirements}
END
"$uv" pip install --quiet --python={venv}/bin/python --no-index --no-deps --require-hashes \\
    --find-links={packages} --find-links={tools} --link-mode=hardlink --requirement=/tmp/requirements.txt
{finish}"""

_INSTALL_UNPINNED = """\
# Python packages in /opt/venv, as their indexes have them when this runs.
set -eu
{begin}export UV_CACHE_DIR="$work/cache"
cd "$work" # where uv looks for the indexes
python3 -m pip install --quiet --target=uv uv
cat >pyproject.toml <<'END'
{project}END
cat >constraints.txt <<'(end)'
{constraints}(end)
uv/bin/uv venv --quiet --python={python} {venv}
uv/bin/uv pip install --quiet --python={venv}/bin/python --link-mode=hardlink \\
    --constraints=constraints.txt --requirement=pyproject.toml
cd /
{finish}"""

_FINISH = """\
# uv notes for its cache when each file was made, which is now.
find {venv} -name uv_cache.json -path '*.dist-info/*' -delete
find {venv} -name RECORD -path '*.dist-info/*' -exec sed -i '/\\.dist-info\\/uv_cache\\.json,/d' {{}} +
# Compiled now, for nobody can write there later; without the time of the source file, which is now.
{venv}/bin/python -m compileall -qq -f --invalidation-mode=unchecked-hash {venv}/lib || :
rm -rf {scratch} {venv}/.lock {venv}/.gitignore {venv}/CACHEDIR.TAG
"""


class Pip:
    """Python packages, as wheels, or as source distributions that are built in the stage that installs."""

    name = "pip"

    def lock(self, wanted: Wanted, means: Means) -> Mapping[Stage, Sequence[PipFile]]:
        """The packages, and under ``tools`` what installs and builds them."""
        if not wanted.image.inputs.pip and not wanted.image.inputs.conda:
            return {}
        from imagefactory.inputs.pip_lock import lock_pip  # starts slowly, and few commands lock

        return lock_pip(wanted, means)

    def fetch(self, file: PipFile, what: str, origin: Origin, means: Means) -> str:
        """From the place that the index names for a file of that name."""
        from imagefactory.inputs.index import file_address  # starts slowly
        from imagefactory.inputs.mirrors import fetch_checked
        from imagefactory.model.expected import Expected

        pip = origin.image.inputs.pip if origin.image else None
        url, home = file_address(
            file.name, file.filename, file.index, pip.indexes if pip else {}, what, means
        )
        fetch_checked(url, Expected(what, file.sha256, file.bytes), means, named_by=home)
        return file.sha256

    def stage(self, file: PipFile) -> Staged:
        """All in one folder."""
        return Staged(f"pip/{file.filename}", file.sha256)

    def install(self, files: Sequence[PipFile], image: ImageDefinition, stage: Stage) -> str:
        """Each by its sha256, in an environment of its own."""
        if stage != "image" or not files:
            return ""
        lines = [f"{file.name}=={file.version} --hash=sha256:{file.sha256}" for file in files]
        return _INSTALL.format(
            venv=VENV,
            python=_python(image),
            packages=f"{PACKAGES}/pip",
            tools=f"{TOOLS}/pip",
            requirements="\n".join(lines),
            finish=_FINISH.format(venv=VENV, scratch=_SCRATCH),
        )

    def install_unpinned(self, image: ImageDefinition, stage: Stage) -> str:
        """As they are chosen to lock them, by uv."""
        pip = image.inputs.pip
        if stage != "image" or not pip:
            return ""
        indexes = {name: (index.url, index.packages) for name, index in pip.indexes.items()}
        return _INSTALL_UNPINNED.format(
            begin=BEGIN,
            venv=VENV,
            python=_python(image),
            project=python_project(pip.packages, indexes, "3"),
            constraints="".join(f"{line}\n" for line in pip.constraints),
            finish=_FINISH.format(venv=VENV, scratch='"$work"'),
        )


def _python(image: ImageDefinition) -> str:
    """The Python whose packages they become."""
    pip = image.inputs.pip
    return "/opt/conda/bin/python" if pip and pip.python == "conda" else "/usr/bin/python3"
