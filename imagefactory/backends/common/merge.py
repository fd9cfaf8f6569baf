"""The layers of an image as one tree, in one pass from the top layer down.

Nothing is unpacked: the tree is written as it is read, to one tar archive. What a layer hides of those below
it is left out (https://github.com/opencontainers/image-spec/blob/main/layer.md#whiteouts).
"""

from __future__ import annotations

import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO

from imagefactory.backends.common.oci import OciArchive
from imagefactory.errors import BuildFailed

WHITEOUT = ".wh."
OPAQUE = ".wh..wh..opq"
_LAST_SECOND = 2**32 - 1  # what squashfs can hold, in seconds since 1970; nothing before that either


class _Merge:
    """What is known while layers are read from the top down."""

    def __init__(self, out: tarfile.TarFile, skip: Callable[[str], bool], scratch: Path) -> None:
        self._out = out
        self._skip = skip
        self._scratch = scratch
        self._written: dict[str, bool] = {}  # path: whether it is a folder
        self._hidden: set[str] = set()  # nothing at or below these shows in the layers to come
        self._opaque: set[str] = set()  # nothing below these
        self._pending: list[tarfile.TarInfo] = []  # hard links to files of lower layers

    def layer(self, blob: IO[bytes]) -> None:
        """Write what this layer shows, and remember what it hides."""
        hidden: set[str] = set()
        opaque: set[str] = set()
        shadowed: dict[str, tuple[tarfile.TarInfo, IO[bytes]]] = {}
        moved: dict[str, str] = {}  # hard links' targets that are written under another name
        written: dict[str, bool] = {}
        with tarfile.open(fileobj=blob, mode="r|*") as layer:
            for member in layer:
                path = _clean(member.name)
                folder, _, name = path.rpartition("/")
                if name == OPAQUE:
                    opaque.add(folder)
                elif name.startswith(WHITEOUT):
                    hidden.add(f"{folder}/{name.removeprefix(WHITEOUT)}".lstrip("/"))
                elif path:
                    if self._shows(path):
                        self._write(layer, member, path, shadowed, moved, written)
                        continue
                    if not member.isdir():  # nor was there a folder then: what is below it is older
                        hidden.add(path)
                    if member.islnk():
                        moved[path] = _clean(member.linkname)
                    elif member.isfile():
                        shadowed[path] = (member, self._copy(layer, member))
        for path, is_folder in written.items():
            if not is_folder:
                hidden.add(path)
        self._written |= written
        self._hidden |= hidden
        self._opaque |= opaque
        for _, data in shadowed.values():
            data.close()

    def finish(self) -> None:
        """Write what waited for the lowest layer, and folders that no layer lists."""
        for member in self._pending:
            if member.linkname not in self._written:
                raise BuildFailed(f"the image has a hard link, {member.name}, to nothing: {member.linkname}")
            self._out.addfile(member)
            self._written[member.name] = False
        for path in list(self._written):
            for parent in _parents(path):
                if parent not in self._written:
                    self._written[parent] = True
                    self._out.addfile(folder_entry(parent, 0o755))

    def _shows(self, path: str) -> bool:
        """Whether no upper layer has something else in its place."""
        if path in self._written or path in self._hidden:
            return False
        hidden, opaque = self._hidden, self._opaque
        return "" not in opaque and not any(p in hidden or p in opaque for p in _parents(path))

    def _write(
        self,
        layer: tarfile.TarFile,
        member: tarfile.TarInfo,
        path: str,
        shadowed: dict[str, tuple[tarfile.TarInfo, IO[bytes]]],
        moved: dict[str, str],
        written: dict[str, bool],
    ) -> None:
        if self._skip(path):
            return
        entry = _plain(member, path)
        if member.islnk():
            target = _clean(member.linkname)
            while target in moved:
                target = moved[target]
            if target in shadowed:  # an upper layer replaced that name of the file, but not this one
                original, data = shadowed[target]
                moved[target] = path
                data.seek(0)
                self._out.addfile(_plain(original, path), data)
            else:
                entry.linkname = target
                if target not in written:
                    if not self._shows(target):
                        raise BuildFailed(f"the image has a hard link, {path}, to {target}, which it hides")
                    self._pending.append(entry)
                    return
                self._out.addfile(entry)
        elif member.isfile():
            self._out.addfile(entry, layer.extractfile(member))
        else:
            self._out.addfile(entry)
        written[path] = member.isdir()

    def _copy(self, layer: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
        """A hidden file's bytes, in case that a hard link to it is not hidden."""
        data: IO[bytes] = tempfile.TemporaryFile(dir=self._scratch)  # noqa: SIM115
        content = layer.extractfile(member)
        assert content is not None
        while piece := content.read(1 << 20):
            data.write(piece)
        return data


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
    with tarfile.TarFile(fileobj=_Counted(out), mode="w", format=tarfile.PAX_FORMAT) as tree:  # type: ignore[arg-type]
        merge = _Merge(tree, skip, scratch)
        for entry, data in extra:
            tree.addfile(entry, data)
        for digest in reversed(archive.layers):
            with archive.open_layer(digest) as blob:
                merge.layer(blob)
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


def _parents(path: str) -> Iterator[str]:
    """The folders above a path, from the nearest to the highest."""
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path


def _plain(member: tarfile.TarInfo, path: str) -> tarfile.TarInfo:
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


def _clean(name: str) -> str:
    path = name.removeprefix("./").strip("/")
    return "" if path == "." else path
