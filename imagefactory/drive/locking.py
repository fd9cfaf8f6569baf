"""Lock: resolve inputs to exact files, and write down which."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from imagefactory.definitions.bases import load_base
from imagefactory.definitions.recipes import load_images, requests_of
from imagefactory.drive.guard import guarded
from imagefactory.drive.result import Result
from imagefactory.drive.session import Session
from imagefactory.errors import BadFiles, BadInput, NotLocked, Unsolvable
from imagefactory.inputs.debian import lock_base
from imagefactory.inputs.disk import lock_disk
from imagefactory.inputs.kinds import KINDS
from imagefactory.inputs.machine import lock_machine
from imagefactory.inputs.protocol import InputKind, Means, Wanted
from imagefactory.inputs.upstream import lock_upstream
from imagefactory.locks import base_lock_file, changes, lock_file, read_locks, write_locks
from imagefactory.locks.states import LockState, base_lock_state, image_lock_state
from imagefactory.model.lock import Lock, LockedFile, Stage, StageLock
from imagefactory.model.spec import BaseDefinition, BaseSpec, ImageDefinition
from imagefactory.model.target import Target, TargetId
from imagefactory.sandbox import Relay
from imagefactory.system.holds import hold_file
from imagefactory.system.log import Log
from imagefactory.targets.kind import Asked
from imagefactory.targets.register import lines

NOTHING_NEWER = "nothing is newer"
SAME = "the same files still fit; --upgrade asks for newer ones"
_MOST = 12  # lines of a recipe in a hint
STAGES: tuple[Stage, ...] = ("image", "build", "tools")


def ensure_base_lock(session: Session, name: str, *, upgrade: bool = False, locked: bool = False) -> Result:
    """Lock what a base image is made of where that is not locked for what is asked for."""
    if session.resolver.base(name).spec and not upgrade:
        return Result(name, "nothing", 0.0)

    def work() -> Result:
        base = load_base(session.workspace, name)
        state = base_lock_state(session.workspace, base, session.site)
        if state.good and not upgrade:  # somebody else did it meanwhile
            return Result(name, "nothing", 0.0)
        _may_lock(name, name, state, locked)
        file = base_lock_file(session.workspace, name)

        def make(means: Means) -> Lock:
            if base.base.upstream:
                ask = functools.partial(_ask_draft, session, base, means)
                return lock_upstream(base.base, state.request, means, ask)
            lock = lock_machine if base.machine else lock_base
            return (lock_disk if base.base.disk else lock)(base.base, state.request, means)

        return _lock(session, name, base, state, upgrade, file, make, {name})

    return _guarded(session, name, work)


def ensure_image_lock(
    session: Session, image: ImageDefinition, *, upgrade: bool = False, locked: bool = False
) -> Result:
    """Lock an image's inputs where they are not locked for what is asked for.

    Its base image is locked, and made, before.
    """
    if session.resolver.image(image).spec and not upgrade:
        return Result(image.id, "nothing", 0.0)

    def work() -> Result:
        base = load_base(session.workspace, image.base)
        state = image_lock_state(session.workspace, image, base, session.site)
        if state.good and not upgrade:  # somebody else did it meanwhile, or the lock is not what is wrong
            _hold_against(session, image)
            return Result(image.id, "nothing", 0.0)
        _may_lock(image.id, image.selector, state, locked)
        of_base = base_lock_state(session.workspace, base, session.site)
        assert of_base.good
        base_lock, old = of_base.good, None if upgrade else state.lock

        def make(means: Means) -> Lock:
            return resolve(session, image, base, base_lock, old, state.request, means)

        file = lock_file(session.workspace, image.recipe)
        present = {other.id for other in load_images(session.workspace, [image.recipe])}
        result = _lock(session, image.id, base, state, upgrade, file, make, present)
        _hold_against(session, image)
        return result

    return _guarded(session, image.id, work)


def _hold_against(session: Session, image: ImageDefinition) -> None:
    """Raises BadFiles where the lock, as it is now, says another version than the recipe."""
    session.resolver.forget(image.id)
    if problems := session.resolver.problems(image):
        raise BadFiles(problems)


def _guarded(session: Session, name: str, work: Callable[[], Result]) -> Result:
    result = guarded(session, name, session.home(name), work, Result(name, "failed", 0.0))
    session.resolver.forget(name)
    return result


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

    def ask_base(files: Mapping[str, bytes], relay: Relay) -> Mapping[str, bytes]:
        return _ask(session, image.base, files, relay, means)

    stages: dict[Stage, StageLock] = {stage: StageLock() for stage in STAGES}
    for name, kind in KINDS.items():
        wanted = Wanted(image, base, base_lock, old, ask_base, dict(stages))
        for stage, files in lock_kind(session, kind, wanted, means).items():
            ordered = sorted(files, key=lambda file: (file.name, file.version, file.file))
            stages[stage] = stages[stage].model_copy(update={name: tuple(ordered)})
    return Lock(request=request, image=stages["image"], build=stages["build"], tools=stages["tools"])


def lock_kind(
    session: Session, kind: InputKind, wanted: Wanted, means: Means
) -> Mapping[Stage, Sequence[LockedFile]]:
    """One kind's files. What cannot be had together is told with the lines of the recipe that ask for it."""
    try:
        return kind.lock(wanted, means)
    except Unsolvable as error:
        asked = requests_of(session.workspace, wanted.image, kind.name)
        said = "\n".join((error.message, *error.tail))
        named = [request for request in asked if request.is_named_in(said)] or asked
        error.hint = "\n".join((error.hint, *map(str, named[:_MOST])))
        raise


def asked_of(session: Session, base: str) -> TargetId:
    """The target of a base image that answers what installing something on it would bring."""
    (kind,) = session.kinds.having(Asked, (line.name for line in lines("base_images")))
    return TargetId(kind.name, base)


def _ask_draft(
    session: Session, base: BaseDefinition, means: Means, lock: Lock, files: Mapping[str, bytes]
) -> Mapping[str, bytes]:
    kind = session.kinds[asked_of(session, base.base.name).kind]
    assert isinstance(kind, Asked)
    return kind.ask_draft(BaseSpec(base, lock), files, means)


def _ask(
    session: Session, base: str, files: Mapping[str, bytes], relay: Relay, means: Means
) -> Mapping[str, bytes]:
    id = asked_of(session, base)
    target, report = session.resolver.graph((), [id])[id], session.last(id)
    kind = session.kinds[id.kind]
    assert isinstance(kind, Asked)
    if not isinstance(target, Target) or report is None or report.input_digest != target.input_digest:
        raise BadInput(f"base image {base} is not made", hint=f"imagefactory build {base}")
    return kind.ask(session.kept(target, report), files, relay, means)


def _may_lock(id: str, selector: str, state: LockState, locked: bool) -> None:
    if locked:
        raise NotLocked(
            f"{id}: {state.reason}", hint=f"run imagefactory lock {selector}, and commit what it writes"
        )


def _lock(
    session: Session,
    id: str,
    base: BaseDefinition,
    state: LockState,
    upgrade: bool,
    file: Path,
    make: Callable[[Means], Lock],
    present: Collection[str],
) -> Result:
    """Make a lock and write it beside those of the images that are ``present`` in the recipe."""
    home = session.home(id)
    reason = state.reason or "--upgrade was given"
    start = time.monotonic()
    with (
        contextlib.closing(Log(id, home.folder / "lock.log", session.progress)) as log,
        home.scratch_folder() as scratch,
    ):
        log.phase(f"locking: {reason}")
        lock = make(session.means(log, scratch, base.platform))
        # Other images of the recipe may be locked at the same time.
        with hold_file(session.workspace.build / f"{file.parent.name}.lock"):
            locks = read_locks(session.workspace, file, base.platform)
            kept = {name: lock for name, lock in locks.items() if name in present}
            write_locks(file, {**kept, id: lock}, base.platform)
        log.done(True, "locked")
    told = tuple(str(change) for change in changes(state.lock, lock))
    return Result(id, "lock", time.monotonic() - start, told or (NOTHING_NEWER if upgrade else SAME,))
