"""What a finished disk holds, read without booting or mounting it: in a sandbox, for it is not trusted."""

from __future__ import annotations

import contextlib
import fnmatch
import json
import os
import shlex
import stat
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import IO

from imagefactory.errors import BuildFailed, DiskFull, disk_error
from imagefactory.guest.facts import DiskFacts, disk_facts
from imagefactory.guest.listing import Entry, Partition, Space, entries, pieces, root_of, space, table
from imagefactory.guest.programs import program
from imagefactory.sandbox import Errand, Limits, host_python, run_errand
from imagefactory.system.files import remove_tree
from imagefactory.system.processes import Stop, run
from imagefactory.system.redact import harmless

MIB = 1 << 20
_MINUTES = 30
_MEMORY = 2 << 30
_ANSWER_BYTES = 1 << 30
_AS_RAW = "-q -f qcow2 -O raw -n --target-is-zero -S 4096"
_NEEDED = ("qemu-img", "sfdisk", "debugfs", "dumpe2fs")


class DiskReader:
    """Reads a disk. Made by ``open_disk``, and good as long as that is open.

    Paths are absolute; no symbolic link is followed in them. Names that are no UTF-8 are as Python has them
    (surrogateescape).
    """

    def __init__(self, name: str, facts: DiskFacts, ask: Callable[..., bytes], number: int | None) -> None:
        self.facts = facts
        self._name, self._ask, self._number = name, ask, number

    @cached_property
    def partitions(self) -> tuple[Partition, ...]:
        """Its partitions, in their order there. Raises BuildFailed where it has no partition table."""
        return table(self._ask("table"), self._name)

    @cached_property
    def root(self) -> Partition:
        """The partition that is read. Raises BuildFailed where none is the root."""
        return root_of(self.partitions, self._number, self._name)

    @cached_property
    def entries(self) -> Mapping[str, Entry]:
        """All files of the root's ext4 file system, by their paths. Raises BuildFailed where it is none."""
        return entries(self._ask("tree", offset=self.root.start), self._name)

    def exists(self, path: str) -> bool:
        """Whether something is there."""
        return path in self.entries

    def glob(self, pattern: str) -> list[str]:
        """The paths that match; ``*`` stands for any characters, slashes among them."""
        return sorted(path for path in self.entries if fnmatch.fnmatchcase(path, pattern))

    def read(self, path: str, limit: int = MIB) -> bytes:
        """The content of one file: see ``read_all``."""
        return self.read_all([path], limit)[path]

    def read_all(self, paths: Iterable[str], limit: int = MIB) -> dict[str, bytes]:
        """The contents of files, by their paths. Raises BuildFailed where one is no file, or all of them
        together have more than ``limit`` bytes.
        """
        wanted = {path: self._entry(path, stat.S_IFREG, "file") for path in paths}
        total = sum(entry.size for entry in wanted.values())
        if total > limit:
            raise BuildFailed(f"{self._name}: {total} bytes are too many to read; {limit} may be")
        return self._inodes("read", wanted, limit)

    def links(self, paths: Iterable[str]) -> dict[str, str]:
        """Where symbolic links lead, by their paths. Raises BuildFailed where one is none."""
        wanted = {path: self._entry(path, stat.S_IFLNK, "symbolic link") for path in paths}
        return {path: os.fsdecode(data) for path, data in self._inodes("links", wanted, MIB).items()}

    @cached_property
    def space(self) -> Space:
        """What is free in the root's file system, and whether zeros are there."""
        return space(self._ask("space", offset=self.root.start), self._name)

    def _entry(self, path: str, kind: int, what: str) -> Entry:
        entry = self.entries.get(path)
        if entry is None or stat.S_IFMT(entry.mode) != kind:
            raise BuildFailed(f"{self._name}: {path!a} is no {what} in it")
        return entry

    def _inodes(self, do: str, wanted: Mapping[str, Entry], limit: int) -> dict[str, bytes]:
        if not wanted:
            return {}
        inodes = [entry.inode for entry in wanted.values()]
        said = self._ask(do, offset=self.root.start, inodes=inodes, room=limit)
        return dict(zip(wanted, pieces(said, len(inodes), self._name), strict=True))


@contextlib.contextmanager
def open_disk(
    disk: Path,
    scratch: Path,
    stop: Stop,
    on_line: Callable[[str], None] = lambda line: None,
    *,
    partition: int | None = None,
) -> Iterator[DiskReader]:
    """A reader of ``disk``, a qcow2 or raw file, for as long as the block runs. What a qcow2 file holds is
    written to a file in ``scratch`` meanwhile, as sparse as it can be. The root is the ``partition`` of
    that number, or the one whose type says so.

    Raises EngineError where a program is missing, BuildFailed where the disk is none or no space is left,
    and Interrupted on a stop, here and wherever the reader is asked.
    """
    for name in _NEEDED:
        program(name)
    folder = _folder(scratch)
    try:
        with _opened(disk) as file:
            facts = disk_facts(disk, file)
            raw = _raw(disk, facts, file, folder, stop, on_line)

        def ask(do: str, *, offset: int = 0, inodes: Iterable[int] = (), room: int = 0) -> bytes:
            order = {"disk": "/in/disk", "offset": offset, "do": do, "inodes": list(inodes)}
            script = shlex.join(["exec", str(host_python()), "-I", "-S", "/in/read.py", json.dumps(order)])
            inside = (files(__package__) / "inside.py").read_bytes()
            limits = _limits(_ANSWER_BYTES, 64 * MIB + room)
            errand = Errand(f"reading {disk}", script, {"disk": raw, "read.py": inside}, limits=limits)
            with tempfile.TemporaryFile(dir=folder) as answer:
                _run(errand, disk, folder, stop, on_line, answer)
                answer.seek(0)
                return answer.read()

        yield DiskReader(str(disk), facts, ask, partition)
    finally:
        remove_tree(folder)


def copy_raw(
    disk: Path, folder: Path, stop: Stop, on_line: Callable[[str], None] = lambda line: None
) -> Path:
    """What ``disk``, a qcow2 file, holds, as a new sparse raw file in ``folder``. Raises as ``open_disk``
    does.
    """
    program("qemu-img")
    with _opened(disk) as file:
        return _raw(disk, disk_facts(disk, file), file, folder, stop, on_line)


def _raw(
    disk: Path, facts: DiskFacts, file: IO[bytes], folder: Path, stop: Stop, on_line: Callable[[str], None]
) -> Path:
    """The disk as a raw file that whoever runs in a sandbox may read."""
    readable = os.geteuid() != 0 or os.fstat(file.fileno()).st_mode & stat.S_IROTH
    if facts.format == "raw" and readable:
        return disk.absolute()
    if not readable:
        copy = folder / "disk"
        done = run(
            ["cp", "--sparse=always", "--reflink=auto", "--", str(disk), str(copy)], timeout=_MINUTES * 60
        )
        if done.status:
            raise _unwritten(folder, done.stderr)
        copy.chmod(0o644)
        disk = copy
        if facts.format == "raw":
            return copy
    raw = folder / "raw"
    try:
        with raw.open("xb") as out:
            out.truncate(facts.virtual_size)
            # It is empty, so that what is zero need not be written. It is opened by its descriptor's name.
            # Of a file that was cut off it would read zeros. (Status 3: it takes more room than it needs.)
            script = "qemu-img check -q -f qcow2 /in/disk || [ $? -eq 3 ]\n"
            script += f"exec qemu-img convert {_AS_RAW} /in/disk /proc/self/fd/3"
            limits = _limits(facts.virtual_size, 64 * MIB)
            errand = Errand(f"reading {disk}", script, {"disk": disk.absolute()}, limits=limits)
            _run(errand, disk, folder, stop, on_line, out)
        raw.chmod(0o644)
    except OSError as error:
        raise disk_error(error, raw) from None
    return raw


def _run(
    errand: Errand, disk: Path, folder: Path, stop: Stop, on_line: Callable[[str], None], answer: IO[bytes]
) -> None:
    said: deque[str] = deque(maxlen=5)

    def hear(line: str) -> None:
        said.append(line)
        on_line(line)

    status = run_errand(errand, hear, stop, folder, answer)
    if status:
        why = harmless(" | ".join(said))
        if "No space left" in why:
            raise _unwritten(folder, why)
        raise BuildFailed(
            f"{disk} can't be read: {why or f'status {status}'}",
            hint="what made it may have ended early, or it is no ext4 file system: build it again",
        )


def _unwritten(folder: Path, why: str) -> BuildFailed:
    return DiskFull(
        f"no room for a copy of the disk in {folder}: {why.strip()}", hint="free some space there"
    )


def _limits(file: int, disk: int) -> Limits:
    return Limits(seconds=_MINUTES * 60, memory=_MEMORY, disk=disk, file=file)


def _opened(disk: Path) -> IO[bytes]:
    try:
        return os.fdopen(os.open(disk, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    except OSError as error:
        raise BuildFailed(
            f"{disk} can't be read: {error.strerror}", hint="build it, or make it readable"
        ) from None


def _folder(scratch: Path) -> Path:
    try:
        return Path(tempfile.mkdtemp(prefix="disk-", dir=scratch))
    except OSError as error:
        raise disk_error(error, scratch) from None
