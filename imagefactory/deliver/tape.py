"""A tar archive as ``tarfile`` writes one of plain files (POSIX.1-2001), read by who does not believe it.

``tarfile`` itself reads much more: links, devices, sparse files, names of any length, and as much of a header
into memory as the header asks for.
"""

from __future__ import annotations

import re
import tarfile
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

_BLOCK = 512
_MOST_MORE = 64 << 10  # bytes of what does not fit into a header
_MOST_NAME, _MOST_PART = 1000, 255  # bytes
_RECORD = re.compile(rb"([1-9][0-9]{0,5}) (path|size)=")
_MODES = (0o644, 0o755)


class BadTape(ValueError):
    """What is wrong with an archive, in words."""


@dataclass(frozen=True, slots=True)
class Member:
    """A file in an archive, whose content begins ``at`` so many bytes from the archive's beginning."""

    name: str
    size: int
    mode: int
    at: int


def members(archive: BinaryIO, size: int) -> Iterator[Member]:
    """The files in an archive of so many bytes, in its order. Raises BadTape, and OSError."""
    at = 0
    more: dict[str, str] = {}
    while (block := _block(archive, at, size)).strip(b"\0"):
        head = _header(block)
        at += _BLOCK
        if head.type == tarfile.XHDTYPE and not more:
            if not 0 < head.size <= _MOST_MORE:
                raise BadTape(f"it has a header of {head.size} bytes")
            more = _more(archive.read(head.size))
            at += _whole(head.size)
            continue
        name = more.get("path", head.name)
        length = int(more.get("size", head.size))
        if head.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
            raise BadTape(f"it holds {shown(name)}, which is no plain file")
        if flaw := flaw_in(name):
            raise BadTape(f"it holds {shown(name)}, {flaw}")
        if head.mode not in _MODES:
            raise BadTape(f"it holds {shown(name)} with the mode {head.mode:o}")
        if not 0 <= length <= size - at:
            raise BadTape(f"it ends within {shown(name)}")
        yield Member(name, length, head.mode, at)
        at += _whole(length)
        more = {}


def flaw_in(name: str) -> str:
    """Why a name is none for a file below some folder on any machine; empty where it is one."""
    parts = name.split("/")
    try:
        lengths = [len(part.encode()) for part in parts]
    except UnicodeEncodeError:
        return "which is no name"
    if any(unicodedata.category(character)[0] == "C" for character in name) or "\\" in name:
        return "which is no name"
    if sum(lengths) + len(parts) > _MOST_NAME or max(lengths) > _MOST_PART:
        return "which is too long a name"
    if any(part in ("", ".", "..") or part.casefold() == ".git" for part in parts):
        return "which leads elsewhere"
    return ""


def shown(name: str) -> str:
    """A name for people to read, whatever it is."""
    short = name if len(name) <= 100 else f"{name[:97]}..."
    return short if short.isprintable() and short.strip() else ascii(short)


def _block(archive: BinaryIO, at: int, size: int) -> bytes:
    if at + _BLOCK > size:
        raise BadTape("it ends before its end")
    archive.seek(at)
    return archive.read(_BLOCK)


def _header(block: bytes) -> tarfile.TarInfo:
    try:
        return tarfile.TarInfo.frombuf(block, "utf-8", "strict")
    except (tarfile.HeaderError, ValueError):
        raise BadTape("something else stands where a file should begin") from None


def _more(data: bytes) -> dict[str, str]:
    """The records of an extended header: a path, a size, or both, each once."""
    more: dict[str, str] = {}
    while data:
        match = _RECORD.match(data)
        length = int(match[1]) if match else 0
        record, data = data[:length], data[length:]
        if not match or len(record) != length or not record.endswith(b"\n") or match[2].decode() in more:
            raise BadTape("it has a header that imagefactory never writes")
        try:
            more[match[2].decode()] = record[match.end() : -1].decode()
        except UnicodeDecodeError:
            raise BadTape("it has a name that is no text") from None
    if not re.fullmatch(r"[0-9]{1,18}", more.get("size", "0"), re.ASCII):
        raise BadTape("it has a size that is no number")
    return more


def _whole(size: int) -> int:
    """With what fills the last block."""
    return -(-size // _BLOCK) * _BLOCK
