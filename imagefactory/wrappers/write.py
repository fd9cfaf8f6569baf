"""A folder to put in front of researchers: for each image its launchers, its SIF file and a module file.

::

    DIR/modulefiles/<id>/<version>       for Environment Modules and Lmod
    DIR/<id>/<version>/bin/<command>     one launcher for each command, and <id>-exec for any other
    DIR/<id>/<version>/<file>.sif        where the launchers run a SIF file

Nothing in it names the folder: it can be copied or mounted anywhere. Each file is replaced at once, and the
last SIF file of the same version stays: commands work at every moment, and jobs keep what they opened.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imagefactory.errors import BadInput, disk_error
from imagefactory.model.report import Report
from imagefactory.model.spec import Format, ImageDefinition
from imagefactory.records import hold_file, make_folder, write_file
from imagefactory.templates import fill

# A value that names a place in the image is the image's own. Any other is a default: the caller's goes first.
_PLACE = re.compile(r"(^|[:;,=])(/|\$\{HOME\})")


@dataclass(frozen=True, slots=True)
class Wrapped:
    """What was written for one image."""

    id: str
    folder: Path
    module: Path
    commands: tuple[str, ...]


def write_wrappers(
    image: ImageDefinition, report: Report, format: Format, sif: Path | None, to: Path
) -> Wrapped:
    """Write the launchers of one tested image below ``to``, readable by all; those of the same version are
    replaced.

    ``sif`` is copied there; without one they run the image of the report in Docker. Raises BadInput where the
    folder holds something else, and BuildFailed where it can't be written.
    """
    folder = to / image.id / report.version
    module = to / "modulefiles" / image.id / report.version
    values = _values(image, report, format, sif)
    commands: tuple[str, ...] = tuple(values["commands"])
    launcher = f"{image.id}-exec"
    if launcher in commands or image.id == "modulefiles":
        raise BadInput(f"{image.id}: the name {launcher}, or its own, means something else in such a folder")
    try:
        with _readable_by_all():
            if folder.exists() and not (folder / "bin" / launcher).exists():
                raise BadInput(f"{folder} holds something else", hint="give another folder with --to")
            (folder / "bin").mkdir(parents=True, exist_ok=True)
            with hold_file(folder / ".lock"):
                _fill(folder, launcher, commands, sif, fill(__package__, "launcher.sh.j2", values))
            make_folder(module.parent)
            write_file(module, fill(__package__, "module.j2", values).encode())
    except OSError as error:
        raise disk_error(error, Path(error.filename or folder)) from None
    return Wrapped(image.id, folder, module, commands)


def _values(image: ImageDefinition, report: Report, format: Format, sif: Path | None) -> dict[str, Any]:
    """What holds for the tested image: the recipe may have moved on since."""
    environment: Mapping[str, str] = report.ingredients.get("environment", {})
    return {
        "id": image.id,
        "title": report.title,
        "version": report.version,
        "summary": image.summary,
        "homepage": image.homepage,
        "commands": report.ingredients.get("commands", ()),
        "reference": report.reference,
        "gpu": bool(image.needs.gpu),
        "desktop": image.needs.desktop,
        "defaults": [name for name, value in environment.items() if not _PLACE.search(value)],
        "format": format,
        "sif": sif.name if sif else "",
    }


def _fill(folder: Path, launcher: str, commands: tuple[str, ...], sif: Path | None, script: str) -> None:
    """First what commands need, then the commands, then what nothing needs any more."""
    if sif:
        _copy(sif, folder / sif.name)
    write_file(folder / "bin" / launcher, script.encode())
    (folder / "bin" / launcher).chmod(0o755)
    for command in commands:
        link = folder / "bin" / command
        if not link.is_symlink():
            link.symlink_to(launcher)
    for old in (folder / "bin").iterdir():
        if old.name not in (launcher, *commands):
            old.unlink()
    others = (file for file in folder.glob("*.sif") if sif is None or file.name != sif.name)
    for old in sorted(others, key=lambda file: file.stat().st_mtime)[: -1 if sif else None]:
        old.unlink()


def _copy(source: Path, target: Path) -> None:
    draft = target.with_name(f".{target.name}.draft")
    try:
        shutil.copyfile(source, draft)
        draft.chmod(0o755)
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)


@contextlib.contextmanager
def _readable_by_all() -> Iterator[None]:
    """What is written is for others, whatever this user's umask is."""
    before = os.umask(0o022)
    try:
        yield
    finally:
        os.umask(before)
