"""The layers of an image as one tree, in one pass from the top layer down.

Nothing is unpacked: the tree is written as it is read, to one tar archive. What a layer hides of those below
it is left out (https://github.com/opencontainers/image-spec/blob/main/layer.md#whiteouts).
"""

from __future__ import annotations

import os
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from imagefactory.errors import BuildFailed
from imagefactory.system.archives import members, parts_of, told
from imagefactory.targets.common.archive import LAYER, OciArchive

WHITEOUT = ".wh."
OPAQUE = ".wh..wh..opq"
_LAST_SECOND = 2**32 - 1  # what squashfs can hold, in seconds since 1970; nothing before that either


@dataclass
class _Layer:
    """What is known of the layer that is being read; it counts for the layers below only."""

    hidden: set[str] = field(default_factory=set)
    opaque: set[str] = field(default_factory=set)
    folders: set[str] = field(default_factory=set)
    above: set[str] = field(default_factory=set)
    at: dict[str, str] = field(default_factory=dict)  # a file: under which name it was written
    kept: dict[str, tuple[tarfile.TarInfo, int]] = field(default_factory=dict)  # a file: where its bytes are
    same: dict[str, str] = field(default_factory=dict)  # a hard link: its file
    waiting: dict[str, list[tarfile.TarInfo]] = field(default_factory=dict)  # hard links to lower layers


class _Merge:
    """What is known while layers are read from the top down."""

    def __init__(self, out: tarfile.TarFile, skip: Callable[[str], bool], spare: IO[bytes]) -> None:
        self._out = out
        self._skip = skip
        self._spare = spare
        self._folders: set[str] = set()  # written
        self._above: set[str] = set()  # folders that show, as something stands in them, listed or not
        self._hidden: set[str] = set()  # nothing at or below these shows in the layers to come
        self._opaque: set[str] = set()  # nothing below these
        self._waiting: dict[str, list[tarfile.TarInfo]] = {}  # a file of a lower layer: hard links to it

    def layer(self, blob: IO[bytes], digest: str) -> None:
        """Write what this layer shows, and remember what it hides."""
        now = _Layer()
        with told(digest):
            for layer, member in members(blob, digest, LAYER):
                path = "/".join(parts_of(member.name, digest))
                folder, _, name = path.rpartition("/")
                if name == OPAQUE:
                    now.opaque.add(folder)
                elif name.startswith(WHITEOUT):
                    now.hidden.add(f"{folder}/{name.removeprefix(WHITEOUT)}".lstrip("/"))
                elif path:
                    self._surround(path, now)
                    if member.isdir():
                        self._folder(member, path, now)
                    else:
                        self._file(layer, member, path, now)
        self._end(now)

    def finish(self) -> None:
        """Write the folders that no layer lists."""
        for target in self._waiting:
            self._refuse(target)
        for path in sorted(self._above - self._folders):
            self._out.addfile(folder_entry(path, 0o755))

    def _end(self, now: _Layer) -> None:
        """Hide from the layers to come what this one hides."""
        for target in self._waiting:
            if _covers(now.hidden, now.opaque, target):
                self._refuse(target)
        for target, names in now.waiting.items():
            self._waiting.setdefault(target, []).extend(names)
        self._folders |= now.folders
        self._above |= now.above
        self._hidden |= now.hidden
        self._opaque |= now.opaque
        self._spare.seek(0)
        self._spare.truncate()

    def _refuse(self, target: str) -> None:
        name = self._waiting[target][0].name
        raise BuildFailed(f"the image has a hard link, {name}, to nothing: {target}")

    def _shows(self, path: str) -> bool:
        """Whether no upper layer has something else in its place."""
        return path not in self._folders and not _covers(self._hidden, self._opaque, path)

    def _surround(self, path: str, now: _Layer) -> None:
        """The folders of an entry are there, listed or not, even where the entry itself does not show."""
        for parent in _parents(path):
            if parent in now.above:
                return
            if not _covers(self._hidden, self._opaque, parent) and not self._skip(parent):
                now.above.add(parent)

    def _folder(self, member: tarfile.TarInfo, path: str, now: _Layer) -> None:
        if path in self._waiting:
            self._refuse(path)
        if self._shows(path) and not self._skip(path):
            self._out.addfile(_normalised(member, path))
            now.folders.add(path)

    def _file(self, layer: tarfile.TarFile, member: tarfile.TarInfo, path: str, now: _Layer) -> None:
        """A file, or anything else that is no folder: write it under all names that upper layers left it."""
        names = self._waiting.pop(path, [])
        if path not in self._above and self._shows(path) and not self._skip(path):
            names.insert(0, _normalised(member, path))
        now.hidden.add(path)  # whether it shows or not: a folder of that name is older
        if member.islnk():
            target = "/".join(parts_of(member.linkname, "the image"))
            self._link(path, target, names, now)
        elif names:
            data = layer.extractfile(member) if member.isfile() else None
            now.at[path] = self._write(member, data, names)
        else:
            now.kept[path] = (member, self._keep(layer, member))

    def _link(self, path: str, target: str, names: list[tarfile.TarInfo], now: _Layer) -> None:
        target = now.same[path] = now.same.get(target, target)
        if not names:
            return
        if target in now.at:
            self._link_all(now.at[target], names)
        elif target in now.kept:  # an upper layer replaced that name of the file, but not this one
            original, offset = now.kept.pop(target)
            self._spare.seek(offset)
            now.at[target] = self._write(original, self._spare, names)
        else:
            now.waiting.setdefault(target, []).extend(names)

    def _write(self, member: tarfile.TarInfo, data: IO[bytes] | None, names: list[tarfile.TarInfo]) -> str:
        """Write a file under all of its names. Returns the one that is no link."""
        first = names[0].name
        self._out.addfile(_normalised(member, first), data)
        self._link_all(first, names[1:])
        return first

    def _link_all(self, to: str, names: list[tarfile.TarInfo]) -> None:
        for entry in names:
            entry.linkname = to
            self._out.addfile(entry)

    def _keep(self, layer: tarfile.TarFile, member: tarfile.TarInfo) -> int:
        """Keep a file's bytes, in case that a hard link to it shows. Returns where they begin: all are in one
        file, as there may be more of them than files that can be open.
        """
        offset = self._spare.seek(0, os.SEEK_END)
        if member.isfile() and (content := layer.extractfile(member)):
            shutil.copyfileobj(content, self._spare, 1 << 20)
        return offset


def write_merged(
    archive: OciArchive,
    out: IO[bytes],
    extra: Iterable[tuple[tarfile.TarInfo, IO[bytes] | None]],
    skip: Callable[[str], bool],
    scratch: Path,
) -> None:
    """Write the image's tree to ``out``, a pipe, as one tar archive: ``extra`` first, then all of the layers
    but the paths that ``skip`` names, without their leading slash; it is asked only of what shows.

    Raises BuildFailed where a hard link leads nowhere. ``scratch`` takes files that are hidden by upper
    layers while their layer is read.
    """
    with (
        tarfile.TarFile(fileobj=_Counted(out), mode="w", format=tarfile.PAX_FORMAT) as tree,  # type: ignore[arg-type]
        tempfile.TemporaryFile(dir=scratch) as spare,
    ):
        merge = _Merge(tree, skip, spare)
        for entry, data in extra:
            tree.addfile(entry, data)
        for digest in reversed(archive.layers):
            with archive.open_layer(digest) as blob:
                merge.layer(blob, digest)
        merge.finish()


def folder_entry(path: str, mode: int) -> tarfile.TarInfo:
    """A folder of root's."""
    entry = tarfile.TarInfo(path)
    entry.type, entry.mode = tarfile.DIRTYPE, mode
    return entry


class _Counted:
    """A pipe that knows how much went through it, which is all that tarfile asks for."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._pipe = pipe
        self._count = 0

    def write(self, data: bytes) -> int:
        self._count += len(data)
        return self._pipe.write(data)

    def tell(self) -> int:
        return self._count


def _covers(hidden: set[str], opaque: set[str], path: str) -> bool:
    """Whether what a layer hides, and the folders that it begins anew, take that path away."""
    return path in hidden or "" in opaque or any(p in hidden or p in opaque for p in _parents(path))


def _parents(path: str) -> Iterator[str]:
    """The folders above a path, from the nearest to the highest."""
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path


def _normalised(member: tarfile.TarInfo, path: str) -> tarfile.TarInfo:
    """The same entry with nothing that differs from one day or machine to the next."""
    entry = tarfile.TarInfo(path)
    entry.type, entry.mode, entry.size = member.type, member.mode & 0o7777, member.size
    entry.uid, entry.gid = member.uid, member.gid
    entry.mtime = min(max(int(member.mtime), 0), _LAST_SECOND)
    entry.linkname = member.linkname if member.issym() else ""
    entry.devmajor, entry.devminor = member.devmajor, member.devminor
    entry.pax_headers = {k: v for k, v in member.pax_headers.items() if k.startswith("SCHILY.xattr.")}
    if member.islnk() or not member.isfile():
        entry.size = 0
    return entry
