"""The inputs of one build, out of the store, as the Dockerfile's stage ``sources`` holds them."""

from __future__ import annotations

import tarfile
from pathlib import Path

from imagefactory.errors import BuildFailed, disk_error
from imagefactory.inputs import KINDS
from imagefactory.model.lock import PACKAGES, LockedFile
from imagefactory.model.spec import ImageSpec
from imagefactory.system.store import Store, place_file


def stage_inputs(spec: ImageSpec, folder: Path, store: Store) -> Path:
    """Fill ``folder``: ``<stage>/<kind>/…`` for packages, ``sources/<name>/…`` for sources.

    Raises BuildFailed where the store lacks a file, or holds a damaged one.
    """
    try:
        folder.mkdir(parents=True)
        for stage, files in spec.lock.stages():
            for kind, file in files.files():
                _check(spec, file, store)
                place = KINDS[kind].stage(file)
                target = folder / place.path if kind == "sources" else folder / stage / place.path
                if place.unpack:
                    _unpack(store.use(file.sha256), target)
                else:
                    place_file(store, file.sha256, target)
        for stage, _ in spec.lock.stages():  # a mount of what is not there would fail
            for kind in PACKAGES:
                (folder / stage / kind).mkdir(parents=True, exist_ok=True)
        (folder / "sources").mkdir(exist_ok=True)
    except OSError as error:
        raise disk_error(error, folder) from None
    return folder


def _check(spec: ImageSpec, file: LockedFile, store: Store) -> None:
    path = store.path(file.sha256)
    if not file.sha256 or not path.is_file():
        raise BuildFailed(
            f"{spec.image.id}: the store lacks {file.name} {file.version}",
            hint=f"run imagefactory fetch {spec.selector}",
        )
    if file.bytes and path.stat().st_size != file.bytes:
        raise BuildFailed(
            f"{spec.image.id}: the store's {file.name} {file.version} is damaged: {path}",
            hint="run imagefactory store verify, which removes it, then the same command again",
        )


def _unpack(archive: Path, target: Path) -> None:
    with tarfile.open(archive, "r:") as tree:
        tree.extractall(target, filter="tar")
