"""A folder to put in front of researchers: for each image its launchers, its SIF file and a module file.

::

    DIR/modulefiles/<id>/<version>       for Environment Modules and Lmod
    DIR/<id>/<version>/bin/<command>     one launcher for each command, and <id>-exec for any other
    DIR/<id>/<version>/<file>.sif        where the launchers run a SIF file

Nothing in it names the folder: it can be copied or mounted anywhere.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from imagefactory.errors import BadInput, disk_error
from imagefactory.model.report import Report
from imagefactory.model.spec import Format, ImageDefinition
from imagefactory.records import make_folder, remove_tree, write_file
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
    """Write the launchers of one tested image below ``to``; those of the same version are replaced at once.

    ``sif`` is copied there; without one they run the image of the report in Docker. Raises BadInput where the
    folder holds something else, and BuildFailed where it can't be written.
    """
    folder = to / image.id / report.version
    module = to / "modulefiles" / image.id / report.version
    if folder.exists() and not (folder / "bin" / f"{image.id}-exec").exists():
        raise BadInput(f"{folder} holds something else", hint="give another folder with --to")
    draft = folder.with_name(f".{report.version}.draft")
    values = {**_values(image, report), "format": format, "sif": sif.name if sif else ""}
    try:
        remove_tree(draft)
        (draft / "bin").mkdir(parents=True)
        if sif:
            _copy(sif, draft / sif.name)
        launcher = draft / "bin" / f"{image.id}-exec"
        launcher.write_text(fill(__package__, "launcher.sh.j2", values), encoding="utf-8")
        launcher.chmod(0o755)
        for command in image.commands:
            (draft / "bin" / command).symlink_to(launcher.name)
        _swap(draft, folder)
    except OSError as error:
        with contextlib.suppress(OSError):
            remove_tree(draft)
        raise disk_error(error, folder) from None
    make_folder(module.parent)
    write_file(module, fill(__package__, "module.j2", values).encode())
    return Wrapped(image.id, folder, module, image.commands)


def _values(image: ImageDefinition, report: Report) -> Mapping[str, object]:
    return {
        "id": image.id,
        "title": image.title,
        "version": report.version,
        "summary": image.summary,
        "homepage": image.homepage,
        "commands": image.commands,
        "reference": report.reference,
        "digest": report.image_digest,
        "gpu": bool(image.needs.gpu),
        "desktop": image.needs.desktop,
        "defaults": [name for name, value in image.environment.items() if not _PLACE.search(value)],
    }


def _copy(source: Path, target: Path) -> None:
    """A hard link where that is possible: the file never changes, for a new build is a new file."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
    target.chmod(0o755)


def _swap(draft: Path, folder: Path) -> None:
    """Commands that run now keep what they have open."""
    old = folder.with_name(f".{folder.name}.old")
    remove_tree(old)
    if folder.exists():
        folder.rename(old)
    draft.rename(folder)
    remove_tree(old)
