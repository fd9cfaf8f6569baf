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
                what = _check(spec, file, store)
                place = KINDS[kind].stage(file)
                target = folder / place.path if kind == "sources" else folder / stage / place.path
                if place.unpack:
                    archive = folder.with_name("unpacked.tar")
                    place_file(store, file.sha256, archive, what, file.bytes)
                    _unpack(archive, target)
                    archive.unlink()
                else:
                    place_file(store, file.sha256, target, what, file.bytes)
        for stage, _ in spec.lock.stages():  # a mount of what is not there would fail
            for kind in PACKAGES:
                (folder / stage / kind).mkdir(parents=True, exist_ok=True)
        (folder / "sources").mkdir(exist_ok=True)
    except OSError as error:
        raise disk_error(error, folder) from None
    return folder


def _check(spec: ImageSpec, file: LockedFile, store: Store) -> str:
    """What it is in words, if the store has it."""
    if not file.sha256 or not store.has(file.sha256):
        raise BuildFailed(
            f"{spec.image.id}: the store lacks {file.name} {file.version}",
            hint=f"run imagefactory fetch {spec.selector}",
        )
    return f"{spec.image.id}: the store's {file.name} {file.version}"


def _unpack(archive: Path, target: Path) -> None:
    with tarfile.open(archive, "r:") as tree:
        tree.extractall(target, filter="tar")
