"""The layers of an image, read one after the other out of the engine's export."""

from __future__ import annotations

import json
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from imagefactory.backends.common.oci import OciArchive
from imagefactory.testing.subject import Entry
from imagefactory.testing.survey import DPKG_STATUS

HEAD_BYTES = 1 << 20
MAX_STATUS_BYTES = 32 << 20
_CAPABILITY = "SCHILY.xattr.security.capability"  # how tar archives hold capabilities(7) of a file


def entries(export: Iterable[bytes], base_layers: frozenset[str], scratch: Path) -> Iterator[Entry]:
    """Every path in every layer, from the lowest up, out of an OCI archive given in pieces.

    Left out are ``base_layers``, digests of those that the base image brought; ``scratch`` is a folder with
    room for the archive.
    """
    with tempfile.TemporaryFile(dir=scratch) as spool:
        for piece in export:
            spool.write(piece)
        spool.seek(0)
        with OciArchive(spool) as archive:
            for digest in archive.layers:
                if digest not in base_layers:
                    with archive.open_layer(digest) as blob:
                        yield from _layer(blob)


def layer_digests(manifest: bytes) -> list[str]:
    """The digests of the compressed layers in an OCI manifest, from the base up."""
    return [layer["digest"] for layer in json.loads(manifest)["layers"]]


def _layer(blob: IO[bytes]) -> Iterator[Entry]:
    with tarfile.open(fileobj=blob, mode="r|*") as layer:
        for member in layer:
            path = member.name.removeprefix("./").strip("/")
            if path in ("", "."):
                continue
            head = _head(layer, member, path)
            yield Entry(path, member.mode, member.isfile(), head, _CAPABILITY in member.pax_headers)


def _head(layer: tarfile.TarFile, member: tarfile.TarInfo, path: str) -> bytes:
    if not member.isfile():
        return b""
    content = layer.extractfile(member)
    limit = MAX_STATUS_BYTES if path == DPKG_STATUS else HEAD_BYTES
    return content.read(limit) if content else b""
