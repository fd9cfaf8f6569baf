"""A git server that gives what git itself would never write."""

from __future__ import annotations

import struct
from pathlib import Path

from tests.upstreams.repository import _git

MODE = {"file": "100644", "link": "120000", "module": "160000"}


def odd_commit(folder: Path, *entries: tuple[str, bytes, bytes]) -> str:
    """A commit on main whose tree has exactly those entries: kind, name and content of each."""
    rows = b""
    for kind, name, content in entries:
        object_id = content.decode() if kind == "module" else _write(folder, "blob", content)
        rows += f"{MODE[kind]} ".encode() + name + b"\0" + bytes.fromhex(object_id)
    commit = _git(folder, "commit-tree", _write(folder, "tree", rows), "-m", "A lie")
    _git(folder, "update-ref", "refs/heads/main", commit)
    _git(folder, "update-server-info")
    return commit


def _write(folder: Path, kind: str, data: bytes) -> str:
    return _git(folder, "hash-object", "-t", kind, "-w", "--stdin", "--literally", data=data)


def packet(data: bytes) -> bytes:
    """https://git-scm.com/docs/protocol-common, "pkt-line"."""
    return b"%04x" % (len(data) + 4) + data


def advertisement(*lines: bytes) -> bytes:
    """What a server of the first protocol says of its branches."""
    return packet(b"# service=git-upload-pack\n") + b"0000" + b"".join(map(packet, lines))


def reference(commit: str, name: str = "refs/heads/main") -> bytes:
    return f"{commit} {name}".encode() + b"\0side-band-64k allow-reachable-sha1-in-want\n"


def pack_begins() -> bytes:
    """The begin of an answer with a pack of one blob, of a size that nobody has."""
    size = 1 << 40
    header = bytearray([0xB0 | (size & 15)])
    size >>= 4
    while size:
        header.append(0x80 | (size & 0x7F))
        size >>= 7
    header[-1] &= 0x7F
    return packet(b"NAK\n") + packet(b"\x01PACK" + struct.pack(">II", 2, 1) + bytes(header) + b"\x78\x01")


def pack_goes_on() -> bytes:
    """A part of that blob: one block of zlib's that is stored as it is."""
    return packet(b"\x01\x00" + struct.pack("<HH", 60_000, 60_000 ^ 0xFFFF) + bytes(60_000))
