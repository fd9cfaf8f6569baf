"""The payload: all that a VM base lacks, as one tar archive, which the machine reads as a disk."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterable
from pathlib import Path

from imagefactory.errors import disk_error
from imagefactory.model.spec import File, ImageSpec
from imagefactory.system.store import place_file
from imagefactory.targets.common.launchers import write_wrappers
from imagefactory.targets.common.layouts import archive_of
from imagefactory.targets.kind import Job, Kept, Launched
from imagefactory.targets.vm.examples import examples_of
from imagefactory.targets.vm.facts import HOME, LOAD, MARK, machine_files, machine_links, release_file

_ENGINES = {"oci": "docker", "sif": "apptainer"}


def write_payload(job: Job, file: Path) -> None:
    """Write it to ``file``, of what the job's target is made of. The same bytes for the same things. Raises
    BuildFailed, or a kind of it.
    """
    spec = job.target.spec
    assert isinstance(spec, ImageSpec)
    image = job.needs["oci"]
    archive = job.scratch / "image.tar"
    archive = archive_of(image.archive(archive), archive)
    reports = {kind: kept.report for kind, kept in job.needs.items()}
    files = [
        File(MARK, 0o644, b""),
        release_file(spec, reports),
        *machine_files(spec),
        File(f"{LOAD}/reference", 0o644, image.report.reference.encode()),
        File(f"{LOAD}/digest", 0o644, image.report.digest.encode()),
    ]
    launchers = job.scratch / "launchers"
    for kind, engine in _ENGINES.items():
        _write_launchers(spec, job.needs[kind], launchers / engine)
    examples = job.scratch / "examples"
    for path, data in examples_of(spec).items():
        what = f"recipes/{spec.image.recipe}: the store's test data {data.filename}"
        try:
            place_file(job.means.store, data.sha256, examples / path, what)
        except OSError as error:
            raise disk_error(error, examples / path) from None
    try:
        with file.open("xb") as out, tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as tar:
            writer = _Writer(tar, spec.epoch)
            writer.write(files, launchers, archive, image.report.commands, spec)
            writer.write_examples(examples)
    except OSError as error:
        raise disk_error(error, file) from None


def _write_launchers(spec: ImageSpec, kept: Kept, to: Path) -> None:
    assert isinstance(kept.kind, Launched)
    write_wrappers(spec.image, kept, kept.kind, to)


class _Writer:
    """Writes one payload; everything is root's, and of one date."""

    def __init__(self, tar: tarfile.TarFile, epoch: int) -> None:
        self._tar, self._epoch = tar, epoch
        self._folders: set[str] = set()

    def write(
        self,
        files: Iterable[File],
        launchers: Path,
        archive: Path,
        commands: Iterable[str],
        spec: ImageSpec,
    ) -> None:
        for each in files:
            self._add(each.path, each.mode, io.BytesIO(each.data), len(each.data))
        for path in sorted(launchers.rglob("*")):
            place = f"{HOME}/{path.relative_to(launchers)}"
            if path.is_symlink():
                self._link(place, str(path.readlink()))
            elif path.is_file() and not path.name.startswith("."):
                self._file(place, path)
        for command in (*commands, f"{spec.image.repository}-exec"):
            self._link(f"usr/local/bin/{command}", f"/{HOME}/bin/launch")
        for place, to in machine_links(spec).items():
            self._link(place, to)
        self._file(f"{LOAD}/image.tar", archive)

    def write_examples(self, folder: Path) -> None:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                self._file(str(path.relative_to(folder)), path, 0o644)

    def _file(self, place: str, path: Path, mode: int = 0) -> None:
        with path.open("rb") as content:
            facts = os.fstat(content.fileno())
            usual = 0o755 if facts.st_mode & 0o111 else 0o644
            self._add(place, mode or usual, content, facts.st_size)

    def _link(self, place: str, to: str) -> None:
        member = self._member(place, tarfile.SYMTYPE, 0o777)
        member.linkname = to
        self._tar.addfile(member)

    def _add(self, place: str, mode: int, content: io.BufferedIOBase, size: int) -> None:
        member = self._member(place, tarfile.REGTYPE, mode)
        member.size = size
        self._tar.addfile(member, content)

    def _member(self, place: str, kind: bytes, mode: int) -> tarfile.TarInfo:
        self._above(place)
        member = tarfile.TarInfo(place)
        member.type, member.mode, member.mtime = kind, mode, self._epoch
        return member

    def _above(self, place: str) -> None:
        parts = place.split("/")[:-1]
        for number in range(1, len(parts) + 1):
            folder = "/".join(parts[:number])
            if folder not in self._folders:
                self._folders.add(folder)
                member = tarfile.TarInfo(folder)
                member.type, member.mode, member.mtime = tarfile.DIRTYPE, 0o755, self._epoch
                self._tar.addfile(member)
