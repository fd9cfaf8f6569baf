"""The Singularity Image Format: the header and descriptors in front of a squashfs file system.

A file begins with a header of 128 bytes; at 4096 stand 48 descriptors of 585 bytes each; the objects that
they describe follow. All numbers are little-endian. Apptainer writes a random identifier and the time of day
into it; here both follow from the content, so that equal content gives equal files. Source of the layout:
https://github.com/apptainer/sif (pkg/sif/sif.go, header.go and descriptor.go).
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

# launch line, magic, version, architecture, identifier, created, modified, descriptors free and in all, their
# offset and size, the data's offset and size
_HEADER = struct.Struct("<32s10s3s3s16s8q")
# kind, used, id, group, link, offset, size, size with padding, created, modified, user, group of the user,
# name, and what the kind needs
_DESCRIPTOR = struct.Struct("<i?IIIqqqqqqq128s384s")
# kind of file system, kind of partition, architecture
_PARTITION = struct.Struct("<ii3s")

_LAUNCH = b"#!/usr/bin/env run-singularity\n"
_DESCRIPTORS_AT = 4096
_DESCRIPTORS = 48
_DATA_AT = _DESCRIPTORS_AT + _DESCRIPTORS * _DESCRIPTOR.size
_PAGE = 4096
_GROUP = 0xF0000001  # the first group of objects
_DEFINITION, _JSON, _PARTITION_KIND = 0x4001, 0x4006, 0x4004
_SQUASHFS, _PRIMARY_SYSTEM = 1, 2
ARCHITECTURES = {"386": b"01", "amd64": b"02", "arm": b"03", "arm64": b"04", "ppc64le": b"06", "s390x": b"11"}


@dataclass(frozen=True, slots=True)
class Document:
    """A small object beside the file system: ``kind`` is "definition" or "json"."""

    name: str
    kind: str
    data: bytes


def system_offset(documents: Sequence[Document]) -> int:
    """Where the file system begins, in bytes."""
    end = _DATA_AT + sum(len(document.data) for document in documents)
    return -(-end // _PAGE) * _PAGE


def write_header(
    file: Path, documents: Sequence[Document], architecture: str, identity: str, epoch: int
) -> None:
    """Make a SIF file of a file that holds a squashfs file system at ``system_offset`` and nothing before.

    ``architecture`` is OCI's name of it. ``identity`` decides the file's identifier, ``epoch`` its times
    (seconds since 1970).
    """
    identifier = uuid.uuid5(uuid.NAMESPACE_URL, identity).bytes
    size = file.stat().st_size
    system = system_offset(documents)
    arch = ARCHITECTURES[architecture]
    unused = _DESCRIPTORS - len(documents) - 1
    header = _HEADER.pack(
        _LAUNCH, b"SIF_MAGIC", b"01", arch, identifier, epoch, epoch, unused, _DESCRIPTORS,
        _DESCRIPTORS_AT, _DESCRIPTORS * _DESCRIPTOR.size, _DATA_AT, size - _DATA_AT,
    )  # fmt: skip
    table = b""
    at = _DATA_AT
    for number, document in enumerate(documents, 1):
        kind = _DEFINITION if document.kind == "definition" else _JSON
        length = len(document.data)
        table += _describe(kind, number, at, length, length, epoch, document.name, b"")
        at += length
    extra = _PARTITION.pack(_SQUASHFS, _PRIMARY_SYSTEM, arch)
    number = len(documents) + 1
    table += _describe(_PARTITION_KIND, number, system, size - system, size - at, epoch, "root", extra)
    with file.open("r+b") as out:
        out.write(header)
        out.seek(_DESCRIPTORS_AT)
        out.write(table)
        out.seek(_DATA_AT)
        for document in documents:
            out.write(document.data)


def _describe(
    kind: int, id: int, offset: int, size: int, padded: int, epoch: int, name: str, extra: bytes
) -> bytes:
    return _DESCRIPTOR.pack(
        kind, True, id, _GROUP, 0, offset, size, padded, epoch, epoch, 0, 0, name.encode(), extra
    )
