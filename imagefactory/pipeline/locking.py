"""Lock: resolve inputs to exact files, and write down which."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from imagefactory.bases import load_base
from imagefactory.errors import BadInput, NotLocked
from imagefactory.inputs import KINDS, Means, Wanted, lock_base
from imagefactory.locks import base_lock_file, changes, lock_file, read_locks, write_locks
from imagefactory.log import Log
from imagefactory.model.lock import Lock, Stage, StageLock
from imagefactory.model.spec import BaseDefinition, ImageDefinition
from imagefactory.pipeline.guard import guarded
from imagefactory.pipeline.result import Result
from imagefactory.pipeline.session import Session
from imagefactory.plan.bases import made_base
from imagefactory.plan.locks import LockState, base_lock_state, image_lock_state
from imagefactory.recipes import load_images
from imagefactory.records import Record, hold_file, record_of, record_of_base

STAGES: tuple[Stage, ...] = ("image", "build", "tools")


def ensure_base_lock(session: Session, name: str, *, upgrade: bool = False, locked: bool = False) -> Result:
    """Lock a base image's packages where they are not locked for what is asked for."""
    record = record_of_base(session.workspace, name)

    def work() -> Result:
        base = load_base(session.workspace, name)
        state = base_lock_state(session.workspace, base, session.site)
        if state.good and not upgrade:
            return Result(name, "nothing", 0.0)
        _may_lock(name, state, locked)
        file = base_lock_file(session.workspace, name)

        def make(means: Means) -> Lock:
            return lock_base(base.base, state.request, means)

        return _lock(session, name, record, base, state, upgrade, file, make, {name})

    return guarded(name, record, session.progress, session.stop, work)


def ensure_image_lock(
    session: Session, image: ImageDefinition, *, upgrade: bool = False, locked: bool = False
) -> Result:
    """Lock an image's inputs where they are not locked for what is asked for.

    Its base image is locked, and made, before.
    """
    record = record_of(session.workspace, image.id)

    def work() -> Result:
        base = load_base(session.workspace, image.base)
        state = image_lock_state(session.workspace, image, base, session.site)
        if state.good and not upgrade:
            return Result(image.id, "nothing", 0.0)
        _may_lock(image.id, state, locked)
        of_base = base_lock_state(session.workspace, base, session.site)
        assert of_base.good
        base_lock, old = of_base.good, None if upgrade else state.lock

        def make(means: Means) -> Lock:
            return resolve(session, image, base, base_lock, old, state.request, means)

        file = lock_file(session.workspace, image.recipe)
        present = {other.id for other in load_images(session.workspace, [image.recipe])}
        return _lock(session, image.id, record, base, state, upgrade, file, make, present)

    return guarded(image.id, record, session.progress, session.stop, work)


def resolve(
    session: Session,
    image: ImageDefinition,
    base: BaseDefinition,
    base_lock: Lock,
    old: Lock | None,
    request: str,
    means: Means,
) -> Lock:
    """Ask each kind of input in turn. Raises BuildFailed, or a kind of it."""

    def ask_base(files: Mapping[str, bytes], secrets: Mapping[str, bytes]) -> Path:
        built = made_base(base, base_lock, record_of_base(session.workspace, image.base))
        if built is None:
            raise BadInput(f"base image {image.base} is not made", hint=f"imagefactory build {image.base}")
        return session.backend.ask_base(built, files, secrets, means)

    found: dict[Stage, StageLock] = {stage: StageLock() for stage in STAGES}
    for name, kind in KINDS.items():
        wanted = Wanted(image, base, base_lock, old, ask_base, dict(found))
        for stage, files in kind.lock(wanted, means).items():
            ordered = sorted(files, key=lambda file: (file.name, file.version, file.file))
            found[stage] = found[stage].model_copy(update={name: tuple(ordered)})
    return Lock(request=request, image=found["image"], build=found["build"], tools=found["tools"])


def _may_lock(id: str, state: LockState, locked: bool) -> None:
    if locked:
        raise NotLocked(
            f"{id}: {state.reason}", hint=f"run imagefactory lock {id}, and commit what it writes"
        )


def _lock(
    session: Session,
    id: str,
    record: Record,
    base: BaseDefinition,
    state: LockState,
    upgrade: bool,
    file: Path,
    make: Callable[[Means], Lock],
    present: Collection[str],
) -> Result:
    """Make a lock and write it beside those of the images that are ``present`` in the recipe."""
    reason = state.reason or "--upgrade was given"
    start = time.monotonic()
    with (
        contextlib.closing(Log(id, record.folder / "lock.log", session.progress)) as log,
        record.scratch_folder() as scratch,
    ):
        log.phase(f"locking: {reason}")
        lock = make(session.means(log, scratch, base.platform))
        # Other images of the recipe may be locked at the same time.
        with hold_file(record.folder.parent / f"{file.parent.name}.lock"):
            locks = read_locks(session.workspace, file, base.platform)
            kept = {name: lock for name, lock in locks.items() if name in present}
            write_locks(file, {**kept, id: lock}, base.platform)
        log.done(True, "locked")
    found = tuple(str(change) for change in changes(state.lock, lock))
    return Result(id, "lock", time.monotonic() - start, found or ("nothing is newer",))
