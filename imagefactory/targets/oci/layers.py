"""The layers of an image, read one after the other."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from imagefactory.targets.common.archive import OciArchive
from imagefactory.targets.oci.survey import DPKG_STATUS, Entry

HEAD_BYTES = 1 << 20
MAX_STATUS_BYTES = 32 << 20
_CAPABILITY = "SCHILY.xattr.security.capability"  # how tar archives hold capabilities(7) of a file


def entries(archive: Path, base_layers: frozenset[str]) -> Iterator[Entry]:
    """Every path in every layer, from the lowest up, out of an OCI archive.

    Left out are ``base_layers``, digests of those that the base image brought.
    """
    with OciArchive(archive) as image:
        for digest in image.layers:
            if digest not in base_layers:
                with image.open_layer(digest) as blob:
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
