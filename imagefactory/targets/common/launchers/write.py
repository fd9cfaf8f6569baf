"""A folder to put in front of researchers: for each image its launchers, its SIF file and a module file.

::

    DIR/modulefiles/<name>/<version>     for Environment Modules and Lmod
    DIR/<name>/<version>/bin/<command>   one launcher for each command, and <name>-exec for any other
    DIR/<name>/<version>/<file>.sif      where the launchers run a SIF file
    DIR/<name>/<version>/share/          entries of desktop menus, with their icons, for programs with windows

Nothing in it names the folder: it can be copied or mounted anywhere. Each file is replaced at once, and the
last SIF file of the same version stays: commands work at every moment, and jobs keep what they opened.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imagefactory.errors import BadInput, disk_error
from imagefactory.model.report import Report
from imagefactory.model.spec import File, ImageDefinition
from imagefactory.system.files import make_folder, write_file
from imagefactory.system.holds import hold_file
from imagefactory.system.templates import fill
from imagefactory.targets.common.launchers.menu import menu_files
from imagefactory.targets.kind import Kept, Launched

# A value that names a place in the image is the image's own. Any other is a default: the caller's goes first.
_PLACE = re.compile(r"(^|[:;,=])(/|\$\{HOME\})")

_LOCK = ".lock"
_MARK = b"ade by imagefactory"  # in the first lines of all that we write


@dataclass(frozen=True, slots=True)
class Wrapped:
    """What was written for one image."""

    id: str
    folder: Path
    module: Path
    commands: tuple[str, ...]


def write_wrappers(image: ImageDefinition, kept: Kept, kind: Launched, to: Path) -> Wrapped:
    """Write the launchers of one tested image below ``to``, readable by all; those of the same version are
    replaced.

    Where it is a file, that is copied there. Raises BadInput where something else is in their place, and
    BuildFailed where it can't be written; what was there is whole then, and the same call carries on.
    """
    report = kept.report
    name = image.repository
    folder = to / name / report.version
    module = to / "modulefiles" / name / report.version
    values = _values(image, report)
    launch = kind.launch(kept, values)
    commands = report.commands
    launcher = f"{name}-exec"
    if launcher in commands or name == "modulefiles":
        raise BadInput(f"{image.id}: the name {launcher}, or its own, means something else in such a folder")
    for command in launch.engines.intersection(commands):
        raise BadInput(f"{image.id}: a launcher for {command} would run itself")
    script = fill(__package__, "launcher.sh.j2", {**values, "script": launch.script})
    try:
        with _readable_by_all():
            _refuse_others(folder, module, launcher, commands)
            make_folder(folder)
            with hold_file(folder / _LOCK):
                make_folder(folder / "bin")
                _fill(folder, launcher, commands, launch.file, script)
                _write_menu(folder, menu_files(image, commands))
            make_folder(module.parent)
            write_file(module, fill(__package__, "module.j2", values).encode())
    except OSError as error:
        raise disk_error(error, Path(error.filename or folder)) from None
    return Wrapped(image.id, folder, module, commands)


def _refuse_others(folder: Path, module: Path, launcher: str, commands: tuple[str, ...]) -> None:
    """Raises BadInput where something that we did not write would be replaced."""
    there = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    if (there and _LOCK not in there) or (folder.exists() and not folder.is_dir()):
        raise BadInput(f"{folder} holds something else", hint="give another folder with --to")
    others = [module] if module.exists() and not _is_ours(module) else []
    file = folder / "bin" / launcher
    others += [file] if file.exists() and not _is_ours(file) else []
    for command in commands:
        link = folder / "bin" / command
        if os.path.lexists(link) and not _leads_to(link, launcher):
            others.append(link)
    if others:
        raise BadInput(
            f"{others[0]} is not imagefactory's",
            hint="move it away, or give another folder with --to",
        )


def _is_ours(file: Path) -> bool:
    return file.is_file() and _MARK in file.read_bytes()


def _leads_to(link: Path, launcher: str) -> bool:
    return link.is_symlink() and link.readlink() == Path(launcher)


def _values(image: ImageDefinition, report: Report) -> dict[str, Any]:
    """What holds for the tested image: the recipe may have moved on since."""
    return {
        "name": image.repository,
        "title": report.title,
        "version": report.version,
        "summary": image.summary,
        "homepage": image.homepage,
        "commands": report.commands,
        "gpu": bool(image.needs.gpu),
        "desktop": image.needs.desktop,
        "menu": bool(image.gui_apps),
        "own": sorted({f"/{folder.split('/')[1]}" for folder in report.path}),
        "defaults": [name for name, value in report.environment.items() if not _PLACE.search(value)],
    }


def _fill(folder: Path, launcher: str, commands: tuple[str, ...], image: Path | None, script: str) -> None:
    """First what commands need, then the commands, then what nothing needs any more."""
    for draft in (*folder.glob(".*.draft"), *(folder / "bin").glob(".*.draft")):  # of a run that was killed
        draft.unlink()
    if image:
        _copy(image, folder / image.name)
    write_file(folder / "bin" / launcher, script.encode())
    (folder / "bin" / launcher).chmod(0o755)
    for command in commands:
        link = folder / "bin" / command
        if not _leads_to(link, launcher):
            link.symlink_to(launcher)
    for old in (folder / "bin").iterdir():
        if old.name not in commands and _leads_to(old, launcher):
            old.unlink()
    ours = f"{launcher.removesuffix('-exec')}-*-{'[0-9a-f]' * 12}.*"
    others = (file for file in folder.glob(ours) if image is None or file.name != image.name)
    for old in sorted(others, key=lambda file: file.stat().st_mtime)[: -1 if image else None]:
        old.unlink()


def _write_menu(folder: Path, files: Iterable[File]) -> None:
    """Menus' files, in the place of those of the last time."""
    ours = {folder / file.path: file.data for file in files}
    for path, data in ours.items():
        make_folder(path.parent)
        write_file(path, data)
    for old in (folder / "share").rglob("*"):
        if old.is_file() and old not in ours:
            old.unlink()


def _copy(source: Path, target: Path) -> None:
    draft = target.with_name(f".{target.name}.draft")
    try:
        shutil.copyfile(source, draft)
        draft.chmod(0o755)
        draft.replace(target)
    except OSError as error:
        raise disk_error(error, target) from None
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
