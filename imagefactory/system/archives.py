"""Tar archives of others, read within bounds: small on the disk, one may have no end once it is unpacked."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import re
import tarfile
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

from imagefactory.errors import BuildFailed

_HEADER_BYTES = 1 << 20  # of one entry: the library reads a header whole, whatever size it claims
_CONTENT_BYTES = 64 << 20  # in one piece
_NAME_LETTERS = 4096  # of a path, as Linux has it
_NAMES_LETTERS = 512 << 20  # of all paths together, which whoever reads an archive keeps
_XZ_MEMORY = 256 << 20  # a .xz file says how much it wants
_DIGITS = re.compile(rb"[0-9]{200}")


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much there may be in an archive: bytes once it is unpacked, entries, and seconds of a
    processor to read it in.
    """

    bytes: int
    entries: int = 5_000_000
    seconds: float | None = None


def too_much(what: str, why: str) -> BuildFailed:
    """An archive that goes beyond its bounds."""
    return BuildFailed(
        f"{what}: {why}", hint="look at what is in it, before you use it: it may be meant to harm"
    )


@contextlib.contextmanager
def told(what: str) -> Iterator[None]:
    """An archive that cannot be read, in words."""
    try:
        yield
    except tarfile.TarError as error:
        said = str(error)[:200]
        raise BuildFailed(f"{what}: the archive is damaged: {said}", hint="fetch or build it again") from None


def members(file: IO[bytes], what: str, bounds: Bounds) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
    """Every entry of an archive, in its order, with the archive to read its content from before the next.

    Raises tarfile.TarError where it is none, and BuildFailed where there is more than the bounds allow.
    """
    flow = _Flow(_unpacked(file), what, bounds)
    with _as_damage(), _header(flow):
        # Closed by whoever opened the file; what it would keep of its entries is dropped below.
        archive = tarfile.TarFile(fileobj=flow, mode="r")  # type: ignore[arg-type]
    count = content = letters = 0
    while True:
        with _as_damage(), _header(flow):
            member = archive.next()
        if member is None:
            return
        archive.members.clear()  # type: ignore[attr-defined]
        count, content = count + 1, content + max(member.size, 0)
        letters += len(member.name) + len(member.linkname)
        if count > bounds.entries:
            raise too_much(what, f"it has more than {bounds.entries} entries")
        if content > bounds.bytes:
            raise too_much(what, f"its files would have more than {bounds.bytes} bytes")
        if max(len(member.name), len(member.linkname)) > _NAME_LETTERS or letters > _NAMES_LETTERS:
            raise too_much(what, f"its paths are too long: {member.name[:60]}…")
        if sum(map(len, archive.pax_headers.values())) > _HEADER_BYTES:
            raise too_much(what, "its headers are too long")
        yield archive, member


def parts_of(name: str, what: str) -> list[str]:
    """The parts of an entry's path, from the archive's top; one that would lead out of it is refused."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts or "\0" in name:
        raise too_much(what, f"it has the path {name[:200]}, which leads out of it")
    return parts


class _Flow:
    """A file that is read forward alone, in pieces of a bounded size, up to a bound and a time."""

    def __init__(self, stream: Any, what: str, bounds: Bounds) -> None:
        self.piece = _CONTENT_BYTES
        self._stream, self._what, self._bounds = stream, what, bounds
        self._at, self._until = 0, time.thread_time() + (bounds.seconds or float("inf"))

    def tell(self) -> int:
        return self._at

    def seek(self, to: int) -> None:
        if to < self._at:
            raise tarfile.StreamError("an entry is before the one that names it")
        while to > self._at and self._take(min(to - self._at, _HEADER_BYTES)):
            pass

    def read(self, count: int) -> bytes:
        if count > self.piece:
            raise too_much(self._what, f"an entry of it has a header of {count} bytes")
        data = self._take(count)
        # The library's own search for a character set takes the square of a number's length (CVE-2024-6232).
        if self.piece == _HEADER_BYTES and len(data) > tarfile.BLOCKSIZE and _DIGITS.search(data):
            raise too_much(self._what, "it has a header with a number without end")
        return data

    def _take(self, count: int) -> bytes:
        try:
            data: bytes = self._stream.read(count)
        except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
            raise tarfile.ReadError(str(error)) from None
        self._at += len(data)
        if self._at > self._bounds.bytes:
            raise too_much(self._what, f"it has more than {self._bounds.bytes} bytes once it is unpacked")
        if time.thread_time() > self._until:
            raise too_much(self._what, f"it takes more than {self._bounds.seconds:g} seconds to read")
        return data


@contextlib.contextmanager
def _header(flow: _Flow) -> Iterator[None]:
    flow.piece = _HEADER_BYTES
    try:
        yield
    finally:
        flow.piece = _CONTENT_BYTES


@contextlib.contextmanager
def _as_damage() -> Iterator[None]:
    """Whatever else the library says of a header."""
    try:
        yield
    except (ValueError, OverflowError, RecursionError, AttributeError, LookupError) as error:
        raise tarfile.ReadError(f"a header cannot be read: {error}") from None


def _unpacked(file: IO[bytes]) -> Any:
    """The archive in a compressed file, by how it begins."""
    begin = file.read(6)
    file.seek(-len(begin), io.SEEK_CUR)
    if begin.startswith(b"\x1f\x8b"):
        return gzip.GzipFile(fileobj=file)
    if begin.startswith(b"BZh"):
        return bz2.BZ2File(file)
    if begin.startswith(b"\xfd7zXZ\0"):
        return io.BufferedReader(_Xz(file))
    return file


class _Xz(io.RawIOBase):
    """A .xz file, of which the standard library's own reader would take any amount of memory."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._stream = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = b""
        while not data:
            if self._stream.eof:  # another may follow
                rest = self._stream.unused_data or self._file.read(io.DEFAULT_BUFFER_SIZE)
                rest = rest.lstrip(b"\0")
                if not rest:
                    return 0
                self._stream = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)
            else:
                rest = self._file.read(io.DEFAULT_BUFFER_SIZE) if self._stream.needs_input else b""
                if self._stream.needs_input and not rest:
                    raise EOFError("the file ends before its end")
            data = self._stream.decompress(rest, len(buffer))
        buffer[: len(data)] = data
        return len(data)
