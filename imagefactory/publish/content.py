"""The file of an image as it goes to a cloud: read once, hashed on the way."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from imagefactory.errors import BadInput, BuildFailed
from imagefactory.system.processes import Stop

PIECE = 1 << 20
DiskFormat = Literal["qcow2", "raw"]
OnProgress = Callable[[int, int], None]
"""Is told the bytes that went so far, and all that there are. Called from a thread of the transfer's own."""
_QCOW2 = b"QFI\xfb"  # QEMU, docs/interop/qcow2.rst
_QCOW2_SIZE = 24  # where its header has the size of the disk, in 8 bytes, the highest first


class Content:
    """A file of a disk's image, open until it is closed. Raises BadInput where it is none of its format."""

    def __init__(self, file: Path, disk_format: DiskFormat) -> None:
        try:
            self._file = file.open("rb")
        except OSError as error:
            raise BadInput(f"cannot read the image {file}: {error.strerror}") from None
        self.file = file
        self.disk_format = disk_format
        facts = os.fstat(self._file.fileno())
        self.bytes = facts.st_size
        start = self._file.read(len(_QCOW2)) if stat.S_ISREG(facts.st_mode) else b""
        if not start or (start == _QCOW2) != (disk_format == "qcow2"):
            self._file.close()
            raise BadInput(f"{file} is not an image in the format {disk_format}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    @property
    def disk_bytes(self) -> int:
        """The size of the disk that a machine sees."""
        if self.disk_format == "raw":
            return self.bytes
        self._file.seek(_QCOW2_SIZE)
        return int.from_bytes(self._file.read(8), "big")

    def sha512(self, stop: Stop) -> str:
        """Of the whole file, in hexadecimal."""
        found = hashlib.sha512()
        self._file.seek(0)
        while piece := self.read(PIECE):
            stop.check()
            found.update(piece)
        return found.hexdigest()

    def pieces(self, on_progress: OnProgress) -> Pieces:
        """The file from its beginning. Only one reads at a time."""
        self._file.seek(0)
        return Pieces(self, on_progress)

    def read(self, count: int) -> bytes:
        """The next bytes. Raises BuildFailed where the disk does not give them."""
        try:
            return self._file.read(count)
        except OSError as error:
            raise BuildFailed(f"cannot read the image {self.file}: {error.strerror}") from None


class Pieces:
    """What is sent: an HTTP client takes its length and goes through it. ``went`` counts the bytes."""

    def __init__(self, content: Content, on_progress: OnProgress) -> None:
        self._content = content
        self._on_progress = on_progress
        self._hash = hashlib.sha512()
        self.went = 0
        self._ended = False

    def __len__(self) -> int:
        return self._content.bytes

    def __iter__(self) -> Iterator[bytes]:
        total = len(self)
        while self.went < total and not self._ended:
            piece = self._content.read(min(PIECE, total - self.went))
            if not piece:
                raise BuildFailed(f"{self._content.file} became shorter while it was sent")
            self._hash.update(piece)
            yield piece
            self.went += len(piece)
            self._on_progress(self.went, total)
        if self._ended:
            raise BuildFailed("the transfer was given up")

    @property
    def sha512(self) -> str:
        """Of all that was sent, in hexadecimal."""
        return self._hash.hexdigest()

    def end(self) -> None:
        """Have a transfer that nobody waits for end at its next piece."""
        self._ended = True
