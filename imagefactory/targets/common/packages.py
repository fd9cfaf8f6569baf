"""The locked packages of a base image, or of a VM base, as a repository that mmdebstrap installs from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from imagefactory.errors import disk_error
from imagefactory.inputs.apt import Apt
from imagefactory.inputs.protocol import Means
from imagefactory.model.lock import AptFile
from imagefactory.model.spec import BaseSpec
from imagefactory.system.files import remove_tree
from imagefactory.system.store import place_file

# A repository of the locked packages and no others (https://wiki.debian.org/DebianRepository/Format).
# mmdebstrap looks for essential packages in the suite of that name alone.
REPOSITORY = """\
mkdir repository
ln -s /in/repository repository/pool
while read -r name bytes sha256; do
    dpkg-deb --field "/in/repository/$name"
    printf 'Filename: pool/%s\\nSize: %s\\nSHA256: %s\\n\\n' "$name" "$bytes" "$sha256"
done </in/files >repository/Packages
{
    printf 'Suite: %s\\nCodename: %s\\nSHA256:\\n' "$SUITE" "$SUITE"
    echo " $(sha256sum <repository/Packages | cut -d ' ' -f 1) $(wc -c <repository/Packages) Packages"
} >repository/Release
echo 'deb [trusted=yes] copy:/job/repository ./' >sources.list
"""
"""The beginning of an errand's script, which makes the repository, and ``sources.list`` with it, of its
inputs; ``SUITE`` is in its environment.
"""


def stage_packages(spec: BaseSpec, means: Means) -> dict[str, bytes | Path]:
    """The inputs of such an errand, out of the store alone. Raises BuildFailed, or a kind of it."""
    packages = {_place(file): file for file in spec.lock.image.apt}
    repository = stage_files(spec, packages, _folder(means), means)
    # What the index says beside each package's own words.
    files = "".join(f"{_place(f)} {f.bytes} {f.sha256}\n" for f in spec.lock.image.apt)
    return {"repository": repository, "files": files.encode()}


def stage_files(spec: BaseSpec, packages: Mapping[str, AptFile], folder: Path, means: Means) -> Path:
    """The new ``folder``, with packages out of the store alone, by their names there. Raises BuildFailed, or
    a kind of it.
    """
    try:
        folder.mkdir()
        folder.chmod(0o755)
        for name, file in packages.items():
            what = f"{spec.name}: the store's {file.name} {file.version}"
            place_file(means.store, file.sha256, folder / name, what, file.bytes)
    except OSError as error:
        raise disk_error(error, folder) from None
    return folder


def remove_packages(means: Means) -> None:
    """Take away what was staged."""
    remove_tree(_folder(means))


def _folder(means: Means) -> Path:
    return means.scratch / "repository"


def _place(file: AptFile) -> str:
    return Apt().stage(file).path.rpartition("/")[2]
