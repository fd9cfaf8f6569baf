"""Files on their way into a machine and out of it, as tar archives. What comes out is not believed."""

from __future__ import annotations

import contextlib
import io
import shutil
import tarfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO

from imagefactory.errors import BadInput, disk_error
from imagefactory.system.archives import Bounds, members, parts_of, told, too_much

TAR_BYTES = 64 << 20
"""What an archive may add to the files in it."""

_ENTRIES = 100_000


@contextlib.contextmanager
def pack(source: Path | Mapping[str, bytes]) -> Iterator[Callable[[IO[bytes]], None]]:
    """What writes an archive of a file, of what is in a folder, or of bytes by their paths. Raises BadInput
    where a path leads out of the archive, or there is nothing.
    """
    if isinstance(source, Path):
        if not source.exists():
            raise BadInput(f"{source} is not there to be brought into a machine")
    else:
        for name in source:
            if not parts_of(name, "what is brought into a machine") or name.startswith("/"):
                raise BadInput(f"{name!r} is no path in a folder")
    yield lambda out: _write(source, out)


def _write(source: Path | Mapping[str, bytes], out: IO[bytes]) -> None:
    with tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT) as archive:
        if not isinstance(source, Path):
            for name, data in source.items():
                member = tarfile.TarInfo(name)
                member.size, member.mode = len(data), 0o644
                archive.addfile(member, io.BytesIO(data))
        elif source.is_dir():
            for each in sorted(source.iterdir()):
                archive.add(each, each.name)
        else:
            archive.add(source, source.name)


def unpack(file: IO[bytes], to: Path, what: str, limit: int) -> list[str]:
    """Write an archive's files and folders below ``to``, a folder of ours, and return the files' paths.
    Raises BuildFailed where it is damaged, leads out of the folder, or has more than ``limit`` bytes.
    """
    file.seek(0)
    written: list[str] = []
    left = limit
    try:
        to.mkdir(parents=True, exist_ok=True)
        with told(what):
            for archive, member in members(file, what, Bounds(limit + TAR_BYTES, _ENTRIES)):
                left -= max(member.size, 0)
                if left < 0:
                    raise too_much(what, f"its files have more than {limit} bytes")
                place = to.joinpath(*parts_of(member.name, what))
                if member.isdir():
                    place.mkdir(parents=True, exist_ok=True)
                elif member.isreg() and place != to:
                    place.parent.mkdir(parents=True, exist_ok=True)
                    place.unlink(missing_ok=True)  # one that is there twice
                    content = archive.extractfile(member)
                    assert content is not None
                    with place.open("xb") as out:
                        shutil.copyfileobj(content, out)
                    place.chmod(0o755 if member.mode & 0o100 else 0o644)
                    written.append(str(place.relative_to(to)))
    except OSError as error:
        raise disk_error(error, to) from None
    return written
