"""OCI layouts of one image, filled and packed
(https://github.com/opencontainers/image-spec/blob/main/image-layout.md).

Builds write a layout and not an archive: layers of the base image, most of an image's bytes, are links to
those that stand here already, and cross neither BuildKit's connection nor the Docker Engine's a second time.
"""

from __future__ import annotations

import contextlib
import json
import os
import tarfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from imagefactory.errors import disk_error
from imagefactory.system.store import file_sha256

_PIECE = 1 << 20
_HEADS = ("oci-layout", "index.json")


def share_layers(base: Path, digest: str, layout: Path) -> frozenset[str]:
    """Link the layers of the image ``digest`` in the layout ``base`` into another layout, and return their
    digests. A damaged one, and any that can't be linked, is left out: it has to be written then, and BuildKit
    says what is wrong with a base image that can't be read.
    """
    shared = set()
    with contextlib.suppress(OSError, ValueError, LookupError, TypeError):
        for layer in map(str, (each["digest"] for each in _document(base, digest)["layers"])):
            source, link = _blob(base, layer), _blob(layout, layer)
            if f"sha256:{file_sha256(source)}" == layer:
                link.parent.mkdir(parents=True, exist_ok=True)
                link.hardlink_to(source)
                shared.add(layer)
    return frozenset(shared)


def manifest_of(layout: Path) -> tuple[str, Any]:
    """The digest and the manifest of the one image in a layout."""
    (entry,) = json.loads((layout / "index.json").read_bytes())["manifests"]
    return entry["digest"], _document(layout, entry["digest"])


def layer_bytes(manifest: Mapping[str, Any]) -> int:
    """The bytes of the compressed layers that an OCI manifest names."""
    return sum(int(layer["size"]) for layer in manifest["layers"])


def blobs_of(layout: Path) -> set[str]:
    """The digest of every blob that the one image in a layout is made of."""
    digest, manifest = manifest_of(layout)
    return {digest, *(str(part["digest"]) for part in (manifest["config"], *manifest["layers"]))}


def packed(layout: Path, without: Collection[str] = ()) -> Iterator[bytes]:
    """A layout as a tar archive in pieces, always the same for the same image. ``without`` names blobs that
    whoever reads it has.
    """
    for name in (*_HEADS, *(_name(each) for each in sorted(blobs_of(layout) - {*without}))):
        with (layout / name).open("rb") as file:
            entry = tarfile.TarInfo(name)
            entry.size = os.fstat(file.fileno()).st_size
            yield entry.tobuf(tarfile.USTAR_FORMAT if entry.size < 8 << 30 else tarfile.GNU_FORMAT)
            while piece := file.read(_PIECE):
                yield piece
            yield bytes(-entry.size % tarfile.BLOCKSIZE)
    yield bytes(2 * tarfile.BLOCKSIZE)


def archive_of(place: Path, file: Path) -> Path:
    """An archive of the image at ``place``: that itself, or, of a layout, one that is written to ``file``.
    Raises BuildFailed, or a kind of it.
    """
    if not place.is_dir():
        return place
    try:
        with file.open("wb") as out:
            out.writelines(packed(place))
    except OSError as error:
        raise disk_error(error, file) from None
    return file


def _document(layout: Path, digest: str) -> Any:
    return json.loads(_blob(layout, digest).read_bytes())


def _blob(layout: Path, digest: str) -> Path:
    return layout / _name(digest)


def _name(digest: str) -> str:
    return "blobs/" + digest.replace(":", "/")
