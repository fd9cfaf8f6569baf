"""The layers of an image, read one after the other."""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from imagefactory.system.archives import members, told
from imagefactory.targets.common.archive import LAYER, OciArchive
from imagefactory.targets.oci.survey import DPKG, Entry, suspect

HEAD_BYTES = 1 << 20
MAX_DPKG_BYTES = 32 << 20
_CAPABILITY = "SCHILY.xattr.security.capability"  # how tar archives hold capabilities(7) of a file


def entries(place: Path, of_base: int) -> Iterator[Entry]:
    """Every path in every layer, from the lowest up, out of an OCI archive or layout.

    The lowest are left out, as many as the base image has: they may be compressed in another way than there.
    """
    with OciArchive(place) as image:
        for digest in image.layers[of_base:]:
            with image.open_layer(digest) as blob:
                yield from _layer(blob, digest)


def layer_digests(manifest: bytes) -> list[str]:
    """The digests of the compressed layers in an OCI manifest, from the base up."""
    return [layer["digest"] for layer in json.loads(manifest)["layers"]]


def _layer(blob: IO[bytes], digest: str) -> Iterator[Entry]:
    with told(digest):
        for layer, member in members(blob, digest, LAYER):
            path = member.name.removeprefix("./").strip("/")
            if path in ("", "."):
                continue
            head, md5 = _read(layer, member, path)
            yield Entry(path, member.mode, member.isfile(), head, _CAPABILITY in member.pax_headers, md5)


def _read(layer: tarfile.TarFile, member: tarfile.TarInfo, path: str) -> tuple[bytes, str]:
    """The beginning of a file, and the md5 of all of it where it may be a secret."""
    content = layer.extractfile(member) if member.isfile() else None
    if content is None:
        return b"", ""
    head = content.read(MAX_DPKG_BYTES if path.startswith(DPKG) else HEAD_BYTES)
    if not suspect(path, head):
        return head, ""
    md5 = hashlib.md5(head, usedforsecurity=False)  # as dpkg's database has it
    while piece := content.read(HEAD_BYTES):
        md5.update(piece)
    return head, md5.hexdigest()
