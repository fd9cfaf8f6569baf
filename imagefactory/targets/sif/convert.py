"""A tested OCI image to a SIF file, in one pass: the same image always gives the same bytes.

Layers are read from the top down out of the engine's export and go through a pipe into mksquashfs, which
writes the file system at its place in the file; nothing is unpacked. All of it is read back, and written
again where that fails: twice, on busy machines, mksquashfs 4.5.1 was seen to have written, without a
complaint, what nobody could read. The header follows at the end.
"""

from __future__ import annotations

import io
import shlex
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO

from imagefactory.errors import BuildFailed, DiskFull
from imagefactory.model.spec import File
from imagefactory.sandbox import Errand, Limits, run_errand
from imagefactory.system.log import TAIL_LINES, Log
from imagefactory.system.processes import Stop
from imagefactory.targets.common.archive import OciArchive
from imagefactory.targets.common.merge import folder_entry, write_merged
from imagefactory.targets.sif.header import ARCHITECTURES, Document, system_offset, write_header
from imagefactory.targets.sif.metadata import (
    PLACE,
    Metadata,
    files_of,
    metadata_of_image,
    summary,
)

# zstd at this level gives smaller files than gzip at its best, in a tenth of its time; at a higher one
# compression takes longer than all the rest. Larger blocks help it more than they cost whoever reads a part.
_COMPRESSION = ("-comp", "zstd", "-Xcompression-level", "5", "-b", "256K")
_MEM = "2G"  # for what it has read and not yet written
_LIMITS = Limits(seconds=6 * 3600, memory=6 << 30, disk=64 << 20, file=1 << 40)
_ROOT = ("-root-uid", "0", "-root-gid", "0")  # whoever makes it
_TRIES = 3
_UNREADABLE = 65  # the script's status where what was written can't be read back
_READ_BACK = (
    "unsquashfs -quiet -no-progress -da 128 -fr 128 -offset {offset} -pf /dev/null /proc/self/fd/3 >&2 || "
    f"exit {_UNREADABLE}"
)
_EMPTY = ("dev", "proc", "sys")
_ORIGIN = """\
# Made by imagefactory of this image, after its tests had passed.
Bootstrap: docker
From: imagefactory/{name}@{digest}
"""
_OURS = (PLACE, "scif", "environment", "singularity")
_LINKS = {"environment": f"{PLACE}/env/90-environment.sh", "singularity": f"{PLACE}/runscript"}


@dataclass(frozen=True)
class TestedImage:
    """An OCI image to make a file of."""

    name: str
    digest: str
    archive: Path
    """An OCI archive of it, or the folder of a layout."""
    readme: str = ""
    """What its users should know, in Markdown."""
    commands: tuple[str, ...] = ()
    """All its commands by name; those that its labels name, where there are none."""


def convert(source: TestedImage, target: Path, scratch: Path, log: Log, stop: Stop) -> None:
    """Write or replace ``target``, a SIF file.

    Raises BuildFailed (or a kind of it) with mksquashfs' last words, or Interrupted; nothing is left then.
    """
    with OciArchive(source.archive) as image:
        if not image.is_image(source.digest):
            raise BuildFailed(
                f"{log.id}: the engine's image of that name is no longer the tested one",
                hint="another build has taken its name: run the same command again",
            )
        config = image.config
        if config["architecture"] not in ARCHITECTURES:
            raise BuildFailed(f"{log.id}: no SIF file can be made for {config['architecture']}")
        data = metadata_of_image(config, source.readme, source.commands or None)
        definition = _ORIGIN.format(name=source.name, digest=source.digest)
        documents = (
            Document("", "definition", definition.encode()),
            Document("inspect-metadata.json", "json", summary(data, definition)),
        )
        epoch = int(datetime.fromisoformat(config["created"]).timestamp())
        target.unlink(missing_ok=True)  # mksquashfs would add to what is there
        try:
            _write_system(
                image, data, definition, target, scratch, system_offset(documents), epoch, log, stop
            )
            write_header(target, documents, config["architecture"], source.digest, epoch)
        except BaseException:
            target.unlink(missing_ok=True)
            raise


def _write_system(
    image: OciArchive,
    data: Metadata,
    definition: str,
    target: Path,
    scratch: Path,
    offset: int,
    epoch: int,
    log: Log,
    stop: Stop,
) -> None:
    options = (
        *("-tar", "-quiet", "-no-progress", "-exit-on-error", "-noappend", "-mem", _MEM),
        *("-root-mode", "755", *_ROOT, "-o", str(offset), *_COMPRESSION),
    )
    tail: list[str] = []

    def hear(line: str) -> None:
        tail.append(line)
        log.line(line)

    errand = Errand(
        log.id,
        _script(options, offset),
        # Not only the file system's own date: no file is given a later one.
        environment={"SOURCE_DATE_EPOCH": str(epoch)},
        limits=_LIMITS,
        ids=1,  # the table of owners begins with whoever runs it
    )
    for attempt in range(1, _TRIES + 1):
        with target.open("wb") as out:
            status = run_errand(
                errand,
                hear,
                stop,
                scratch,
                out,
                lambda pipe: write_merged(image, pipe, _extra(files_of(data, definition)), _skipped, scratch),
            )
        if status != _UNREADABLE or attempt == _TRIES:
            break
        log.line("what mksquashfs wrote cannot be read back: it is written once more")
    if status:
        full = any("no space left" in line.lower() for line in tail)
        kind = DiskFull if full else BuildFailed
        hint = f"free some space in {target.parent}, then run the same command again" if full else ""
        how = f"no space is left in {target.parent}" if full else f"mksquashfs ended with status {status}"
        if status == _UNREADABLE:
            how, hint = "what mksquashfs wrote cannot be read back", "run the same command again"
        raise kind(
            f"{log.id}: the SIF file could not be written: {how}",
            hint=hint,
            step="write the SIF file",
            tail=tail[-TAIL_LINES:],
            log=log.path,
        )


def _script(options: Sequence[str], offset: int) -> str:
    """Write the file system out of a tar archive, and read all of it again."""
    write = f"mksquashfs - /proc/self/fd/3 {shlex.join(options)} || exit"
    return f"{write}\n{_READ_BACK.format(offset=offset)}"


def _skipped(path: str) -> bool:
    """What is not taken out of the layers: devices. Raises BuildFailed at the place of our own files."""
    top = path.split("/", 1)[0]
    if top in _OURS:
        raise BuildFailed(
            f"the image has /{path}, where a SIF file has files of its own",
            hint=f"install it elsewhere: /{', /'.join(_OURS)} are Apptainer's",
            step="write the SIF file",
        )
    return top in (*_EMPTY, ".dockerenv")


def _extra(files: list[File]) -> Iterator[tuple[tarfile.TarInfo, IO[bytes] | None]]:
    folders = {*_EMPTY, f"{PLACE}/libs"}
    for file in files:
        parts = file.path.split("/")[:-1]
        folders |= {"/".join(parts[: n + 1]) for n in range(len(parts))}
    for folder in sorted(folders):
        yield folder_entry(folder, 0o755), None
    for file in files:
        entry = tarfile.TarInfo(file.path)
        entry.mode, entry.size = file.mode, len(file.data)
        yield entry, io.BytesIO(file.data)
    for name, to in _LINKS.items():
        link = tarfile.TarInfo(name)
        link.type, link.linkname, link.mode = tarfile.SYMTYPE, to, 0o777
        yield link, None
