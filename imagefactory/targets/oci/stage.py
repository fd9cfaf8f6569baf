"""The inputs of one build, out of the store, as the Dockerfile's stage ``sources`` holds them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from tarfile import TarInfo

from imagefactory.errors import BuildFailed, disk_error
from imagefactory.inputs.kinds import KINDS
from imagefactory.model.lock import PACKAGES, LockedFile
from imagefactory.model.spec import ImageSpec
from imagefactory.system.archives import Bounds, members, parts_of, told, too_much
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
                    _unpack(archive, target, f"{spec.image.id}: {file.name} {file.version}")
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


def _unpack(archive: Path, target: Path, what: str) -> None:
    """A commit's tree: folders, files and links, none of them outside of ``target`` or by way of a link."""
    target.mkdir(parents=True)
    bounds = Bounds(archive.stat().st_size)  # it is not compressed
    with archive.open("rb") as file, told(what):
        entries = members(file, what, bounds)
        if first := next(entries, None):
            tree, _ = first
            inside = _inside((member for _, member in chain([first], entries)), what)
            tree.extractall(target, inside, filter="tar")


def _inside(tree: Iterable[TarInfo], what: str) -> Iterator[TarInfo]:
    links: set[str] = set()
    for member in tree:
        parts, name = parts_of(member.name, what), member.name[:200]
        if not (member.isdir() or member.isreg() or member.issym()) or member.issparse():
            raise too_much(what, f"it has {name}, which is no file, folder or symbolic link")
        # The library looks where a link leads, which can be made too long for it (CVE-2025-4517).
        if any("/".join(parts[:depth]) in links for depth in range(1, len(parts) + 1)):
            raise too_much(what, f"it has {name} twice, or beyond a link")
        if member.issym():
            links.add("/".join(parts))
        if parts:
            yield member
