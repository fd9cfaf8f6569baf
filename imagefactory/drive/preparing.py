"""What comes before anything is built: locks, inputs in the store, and bundles of both."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import TypeVar

from imagefactory.deliver.bundle import default_name, write_bundle
from imagefactory.drive.fetching import ensure_fetched
from imagefactory.drive.locking import asked_of, ensure_base_lock, ensure_image_lock
from imagefactory.drive.result import Result
from imagefactory.drive.session import Session
from imagefactory.drive.sweep import sweep_files
from imagefactory.drive.test_data import ensure_data
from imagefactory.drive.upkeep import bring_up_to_date, write_context
from imagefactory.errors import Interrupted
from imagefactory.locks.states import LockState
from imagefactory.model.spec import ImageDefinition
from imagefactory.plan import Resolver, Selection, targets_of_base

T = TypeVar("T")
_AT_ONCE = 2  # locks: each asks a resolver that has the machine to itself


def lock_images(session: Session, selection: Selection, *, upgrade: bool) -> list[Result]:
    """Lock every image (and base image) that is not locked for what is asked for now; with ``upgrade``,
    all of them, to what upstreams have today.
    """
    sweep_files(session)
    results, _ = lock_all(session, selection, upgrade=upgrade, tell_all=True)
    return results


def fetch_images(session: Session, selection: Selection) -> list[Result]:
    """Have the store hold all that the images (and their base images) are made of."""
    results, broken = lock_all(session, selection)
    results = [item for item in results if item.error]
    for name in _bases_of(selection):
        resolved = session.resolver.base(name)
        if name not in broken and resolved.spec:
            results.append(ensure_fetched(session, name, resolved.spec, resolved.spec.lock)[0])
    for image in selection.images:
        spec = session.resolver.image(image).spec
        if image.id not in broken and spec:
            result, lock = ensure_fetched(session, image.id, spec, spec.lock)
            results += [result, *_data_result(session, image)]
            if lock != spec.lock:
                session.resolver.forget(image.id)
    return results


def _data_result(session: Session, image: ImageDefinition) -> list[Result]:
    """The files that its tests read, where it has any."""
    return [ensure_data(session, image)] if image.data_of_tests(full=session.full) else []


def unlocked(resolver: Resolver, selection: Selection) -> list[tuple[str, str]]:
    """The images and base images that are not locked for what is asked for now, and why not."""
    states: list[tuple[str, LockState]] = [(name, resolver.base(name).state) for name in _bases_of(selection)]
    states += [(image.id, resolver.image(image).state) for image in selection.images]
    return [(name, state.reason) for name, state in states if state.reason]


def bundle_images(
    session: Session, selection: Selection, to: Path | None
) -> tuple[Path | None, int, list[Result]]:
    """Lock, fetch and render what is missing, make the base images, then write the bundle: the file, its
    bytes, and what was done.

    The file is None where something failed.
    """
    sweep_files(session)
    images = list(selection.images)
    results = fetch_images(session, selection)
    made = [] if any(result.error for result in results) else _make_bases(session, _bases_of(selection))
    results += [result for result in made if result.action != "nothing"]
    if any(result.error for result in results):
        return None, 0, results
    for image in images:
        write_context(session, image)
    file = to or default_name(images, session.resolver, session.workspace)
    size = write_bundle(session.workspace, session.resolver, session.kinds, session.store, images, file)
    return file, size, results


def lock_all(
    session: Session,
    selection: Selection,
    *,
    upgrade: bool = False,
    locked: bool = False,
    tell_all: bool = False,
) -> tuple[list[Result], set[str]]:
    """Lock what is not locked: what was done that is worth telling, and the names of what can't be gone on
    with.
    """
    results: list[Result] = []
    broken: set[str] = set()
    for name in _bases_of(selection):
        named = name in selection.bases
        result = ensure_base_lock(session, name, upgrade=upgrade and named, locked=locked)
        if result.error:
            broken.add(name)
        if result.error or (tell_all and (result.action != "nothing" or named)):
            results.append(result)
    open_ = [image for image in selection.images if upgrade or session.resolver.image(image).spec is None]
    # Only what is locked here and now asks the base image, which must be there to answer; a good lock that
    # says another version than its recipe is not.
    resolved = [image for image in open_ if upgrade or not session.resolver.image(image).state.good]
    asked = sorted({image.base for image in resolved} - broken)
    if asked and not locked:
        wanted = [asked_of(session, name) for name in asked]
        made = bring_up_to_date(session, session.resolver.graph((), wanted), wanted)
        broken |= {item.name for item in made if item.error}
        results += [item for item in made if item.error or not (tell_all or item.action == "nothing")]
    ready = [image for image in selection.images if image.base not in broken]
    chosen = ready if tell_all else [image for image in ready if image in open_]

    def work(image: ImageDefinition) -> Result:
        return ensure_image_lock(session, image, upgrade=upgrade, locked=locked)

    for result in in_parallel(work, chosen, session):
        if result.error:
            broken.add(result.name)
        if result.error or tell_all:
            results.append(result)
    broken |= {image.id for image in selection.images if image.base in broken}
    return results, broken


def _make_bases(session: Session, names: Iterable[str]) -> list[Result]:
    wanted = [id for name in names for id in targets_of_base(name)]
    return bring_up_to_date(session, session.resolver.graph((), wanted), wanted)


def _bases_of(selection: Selection) -> list[str]:
    """The base images that were named, and those of the images that were."""
    return sorted({image.base for image in selection.images} | set(selection.bases))


def in_parallel(
    work: Callable[[ImageDefinition], T], images: Sequence[ImageDefinition], session: Session
) -> list[T]:
    """Results of ``work``, in the order of the images. Raises Interrupted."""
    if not images:
        return []
    with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
        futures: list[Future[T]] = [pool.submit(work, image) for image in images]
        try:
            wait(futures)
        except BaseException:  # a signal: end what runs, then leave
            session.stop.now()
            for future in futures:
                future.cancel()
            raise
    if session.stop:
        raise Interrupted("interrupted")
    return [future.result() for future in futures]
