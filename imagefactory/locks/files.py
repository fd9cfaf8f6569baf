"""Lock files to locks, and back: the same locks give the same bytes."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from imagefactory.errors import BadFiles, BadInput
from imagefactory.locks.fetched import completed, fetched_file, read_fetched
from imagefactory.model.lock import (
    FILES,
    KINDS,
    HeldPackage,
    Lock,
    LockedFile,
    LockFile,
    SourceFile,
    Stage,
    StageLock,
    System,
)
from imagefactory.system.files import write_file
from imagefactory.system.fresh import Mark, mark_of
from imagefactory.system.workspace import Workspace
from imagefactory.yamlfiles import dump, load

_SCALE = 20  # some 50 000 files
_HEADING = "Written by imagefactory lock: every input of every image, pinned. Commit it with the recipe."


def lock_file(workspace: Workspace, recipe: str) -> Path:
    """The lock file of a recipe."""
    return workspace.recipes / recipe / "lock.yaml"


def base_lock_file(workspace: Workspace, name: str) -> Path:
    """The lock file of a base image."""
    return workspace.bases / f"{name}.lock.yaml"


def read_locks(workspace: Workspace, file: Path, platform: str) -> dict[str, Lock]:
    """The locks in a file by image, for one platform; none where there is no file. Raises BadFiles.

    Sources have what is known of them since they were fetched.
    """
    mark = mark_of(file)
    locks = _read_locks(workspace, file, platform, mark) if mark else {}
    if not any(stage.sources for lock in locks.values() for _, stage in lock.stages()):
        return dict(locks)
    known = read_fetched(workspace, fetched_file(workspace, file.parent.name))
    return {name: lock.with_sources(lambda source: completed(source, known)) for name, lock in locks.items()}


@functools.lru_cache(maxsize=64)  # an image's lock stands in one file with its recipe's others
def _read_locks(workspace: Workspace, file: Path, platform: str, mark: Mark) -> dict[str, Lock]:
    try:
        content = load(file, workspace.shown(file), LockFile, scale=_SCALE).model
    except BadFiles as error:
        error.hint = f"mend it, or remove it and run imagefactory lock {_name(file)}"
        raise
    locked = {image.name: image for image in content.images if image.platform == platform}
    stages_of: dict[str, dict[Stage, dict[str, list[Any]]]] = {
        name: {"image": {}, "build": {}, "tools": {}} for name in locked
    }
    for kind in KINDS:
        for row in getattr(content, kind):
            pinned = _pinned(kind, row)
            for user in row.used_by:
                name, _, stage = user.partition("/")
                if name in stages_of:
                    stages_of[name][stage or "image"].setdefault(kind, []).append(pinned)
    return {
        name: Lock.model_construct(
            request=locked[name].request,
            system=_system(content, name),
            **_stages(stages),
        )
        for name, stages in stages_of.items()
    }


def _stages(stages: Mapping[Stage, Mapping[str, list[Any]]]) -> dict[str, Any]:
    """Of rows that were checked as those of the file."""
    return {
        stage: StageLock.model_construct(None, **{kind: tuple(rows) for kind, rows in files.items()})
        for stage, files in stages.items()
    }


def _system(content: LockFile, name: str) -> System | None:
    """What is said of an upstream image in its base image's lock."""
    (locked,) = (image for image in content.images if image.name == name)
    if not locked.distribution or not locked.suite:
        return None
    held = (HeldPackage(name=row.name, version=row.version) for row in content.held if name in row.used_by)
    return System(distribution=locked.distribution, suite=locked.suite, packages=tuple(held))


def write_locks(file: Path, locks: Mapping[str, Lock], platform: str) -> bool:
    """Write the locks of a recipe's images, by name; says whether that changed the file.

    Raises BadInput where the file holds locks of another platform.
    """
    if file.exists():
        others = {image.platform for image in load(file, str(file), LockFile, scale=_SCALE).model.images}
        if others - {platform}:
            raise BadInput(
                f"{file} is locked for {', '.join(sorted(others))}, and this machine is {platform}",
                hint="one file holds the locks of one platform so far",
            )
    text = dump(_content(locks, platform), _HEADING).encode()
    if file.exists() and file.read_bytes() == text:
        return False
    write_file(file, text)
    return True


def _content(locks: Mapping[str, Lock], platform: str) -> dict[str, Any]:
    users: dict[tuple[str, LockedFile], list[str]] = {}
    for name in sorted(locks):
        for stage, files in locks[name].with_sources(SourceFile.as_locked).stages():
            for kind, file in files.files():
                users.setdefault((kind, file), []).append(name if stage == "image" else f"{name}/{stage}")
    content: dict[str, Any] = {
        "schema_version": 1,
        "images": [
            {"name": name, "platform": platform, "request": lock.request, **_release(lock)}
            for name, lock in sorted(locks.items())
        ],
    }
    for kind in KINDS:
        rows = sorted(
            (key for key in users if key[0] == kind),
            key=lambda key: (key[1].name, key[1].version, key[1].file),
        )
        if rows:
            content[kind] = [
                {**_values(file), "used_by": list(dict.fromkeys(users[kind, file]))} for _, file in rows
            ]
    held = [
        {**package.model_dump(), "used_by": [name]}
        for name, lock in sorted(locks.items())
        for package in (lock.system.packages if lock.system else ())
    ]
    return {**content, "held": held} if held else content


def _release(lock: Lock) -> dict[str, str]:
    return lock.system.model_dump(include={"distribution", "suite"}) if lock.system else {}


def _values(file: LockedFile) -> dict[str, Any]:
    order = ("name", "version", "build", "commit", "archive", "index", "channel", "file", "bytes", "sha256")
    values = file.model_dump(exclude_defaults=True)
    return {key: values[key] for key in (*order, "stand_in") if key in values}


def _pinned(kind: str, row: Any) -> LockedFile:
    """A row without what it is used by."""
    model = FILES[kind]
    return model.model_construct(**{name: getattr(row, name) for name in model.model_fields})


def _name(file: Path) -> str:
    return file.parent.name if file.name == "lock.yaml" else file.name.removesuffix(".lock.yaml")
