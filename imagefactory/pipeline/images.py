"""Build and test several images at once, on local workers."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import TypeVar

from imagefactory.bases import load_base
from imagefactory.errors import Interrupted
from imagefactory.inputs import Origin
from imagefactory.model.spec import ImageDefinition
from imagefactory.pipeline.bases import ensure_base
from imagefactory.pipeline.bundle import default_name, write_bundle
from imagefactory.pipeline.fetching import ensure_fetched
from imagefactory.pipeline.locking import ensure_base_lock, ensure_image_lock
from imagefactory.pipeline.one import build_one, test_one
from imagefactory.pipeline.result import Options, Result
from imagefactory.pipeline.session import Session
from imagefactory.pipeline.sif import has_sif, sif_one, test_sif
from imagefactory.pipeline.specs import plan_context
from imagefactory.pipeline.sweep import sweep
from imagefactory.plan import Selection
from imagefactory.plan.locks import base_lock_state, image_lock_state
from imagefactory.records import record_of, record_of_base, write_files
from imagefactory.site import Site
from imagefactory.workspace import Workspace

T = TypeVar("T")


def build_images(session: Session, selection: Selection, options: Options) -> list[Result]:
    """Bring every image up to date; one that fails does not stop the others.

    What is not locked is locked first, and what the store lacks is fetched. Base images that were named
    are made again; those that are only needed, if they are missing. Raises Interrupted after everything
    that ran has ended.
    """
    sweep(session.workspace, session.backend)
    results, broken = _bases(session, selection, options)
    images = [image for image in selection.images if image.base not in broken]

    if options.sif and images:
        session.apptainer.engines()  # missing ones are better told before an hour's build than after it

    def work(image: ImageDefinition) -> list[Result]:
        return _lock_fetch_build(session, image, options)

    return results + [result for found in in_parallel(work, images, session) for result in found]


def lock_images(session: Session, selection: Selection, *, upgrade: bool) -> list[Result]:
    """Lock every image (and base image) that is not locked for what is asked for now; with ``upgrade``,
    all of them, to what upstreams have today.
    """
    sweep(session.workspace, session.backend)
    results: list[Result] = []
    broken: set[str] = set()
    for name in sorted({image.base for image in selection.images} | set(selection.bases)):
        result = ensure_base_lock(session, name, upgrade=upgrade and name in selection.bases)
        # Only what is locked here and now asks the base image, which must be there to answer.
        if not result.error and any(_must_lock(session, image, upgrade) for image in selection.images):
            made = ensure_base(session, name, again=False)
            result = made if made.error else result
        if result.error:
            broken.add(name)
        if result.action != "nothing" or name in selection.bases:
            results.append(result)
    images = [image for image in selection.images if image.base not in broken]

    def work(image: ImageDefinition) -> Result:
        return ensure_image_lock(session, image, upgrade=upgrade)

    return results + in_parallel(work, images, session)


def fetch_images(session: Session, selection: Selection) -> list[Result]:
    """Have the store hold all that the images (and their base images) are made of."""
    results: list[Result] = []
    broken: set[str] = set()
    for name in sorted({image.base for image in selection.images} | set(selection.bases)):
        result = ensure_base_lock(session, name)
        if not result.error:
            result = _fetch_base(session, name)
        if result.error:
            broken.add(name)
        results.append(result)
    for image in selection.images:
        if image.base not in broken:
            results.append(_lock_and_fetch(session, image, Options()))
    return results


def unlocked(workspace: Workspace, selection: Selection, site: Site) -> list[tuple[str, str]]:
    """The images and base images that are not locked for what is asked for now, and why not."""
    found = []
    for name in sorted({image.base for image in selection.images} | set(selection.bases)):
        state = base_lock_state(workspace, load_base(workspace, name), site)
        if state.reason:
            found.append((name, state.reason))
    for image in selection.images:
        state = image_lock_state(workspace, image, load_base(workspace, image.base), site)
        if state.reason:
            found.append((image.id, state.reason))
    return found


def bundle_images(
    session: Session, selection: Selection, to: Path | None
) -> tuple[Path | None, int, list[Result]]:
    """Lock, fetch and render what is missing, then write the bundle: the file, its bytes, and what was done.

    The file is None where something failed.
    """
    sweep(session.workspace, session.backend)
    results, broken = _bases(session, selection, Options())
    images = [image for image in selection.images if image.base not in broken]
    results += [_lock_and_fetch(session, image, Options()) for image in images]
    if any(result.error for result in results):
        return None, 0, results
    for image in images:
        record = record_of(session.workspace, image.id)
        with record.locked(lambda: None, session.stop):
            files = plan_context(session.workspace, image, session.backend, session.apptainer, session.site)
            write_files(record.context, files)
    file = to or default_name(images, session.workspace)
    return file, write_bundle(session, images, file), results


def test_images(session: Session, images: Sequence[ImageDefinition]) -> list[Result]:
    """Test images as they are, without building any. Raises Interrupted."""
    sweep(session.workspace, session.backend)

    def work(image: ImageDefinition) -> list[Result]:
        record = record_of(session.workspace, image.id)
        found = [test_one(session, image)]
        if not found[0].error and has_sif(record, record.read()):
            found.append(test_sif(session, image))
        return found

    return [result for found in in_parallel(work, images, session) for result in found]


def _bases(session: Session, selection: Selection, options: Options) -> tuple[list[Result], set[str]]:
    """Lock and make base images: what was done that is worth telling, and which of them failed."""
    results: list[Result] = []
    broken: set[str] = set()
    for name in sorted({image.base for image in selection.images} | set(selection.bases)):
        again = name in selection.bases
        result = ensure_base_lock(session, name, locked=options.locked)
        if not result.error:
            result = ensure_base(session, name, again=again)
        if result.error:
            broken.add(name)
        if again or result.error or result.action != "nothing":
            results.append(result)
    return results, broken


def _lock_fetch_build(session: Session, image: ImageDefinition, options: Options) -> list[Result]:
    result = _lock_and_fetch(session, image, options)
    if result.error:
        return [result]
    found = [build_one(session, image, options)]
    if options.sif and not found[0].error:
        found.append(sif_one(session, image, options))
    return found


def _lock_and_fetch(session: Session, image: ImageDefinition, options: Options) -> Result:
    base = load_base(session.workspace, image.base)
    if image_lock_state(session.workspace, image, base, session.site).good is None:
        made = ensure_base(session, image.base, again=False)
        result = made if made.error else ensure_image_lock(session, image, locked=options.locked)
        if result.error:
            return result
    lock = image_lock_state(session.workspace, image, base, session.site).good
    assert lock
    return ensure_fetched(
        session, image.id, record_of(session.workspace, image.id), Origin(base, image), lock
    )


def _fetch_base(session: Session, name: str) -> Result:
    base = load_base(session.workspace, name)
    lock = base_lock_state(session.workspace, base, session.site).good
    assert lock
    return ensure_fetched(session, name, record_of_base(session.workspace, name), Origin(base), lock)


def _must_lock(session: Session, image: ImageDefinition, upgrade: bool) -> bool:
    base = load_base(session.workspace, image.base)
    return upgrade or image_lock_state(session.workspace, image, base, session.site).good is None


def in_parallel(
    work: Callable[[ImageDefinition], T], images: Sequence[ImageDefinition], session: Session
) -> list[T]:
    """Results of ``work``, in the order of the images. Raises Interrupted."""
    # Two at a time: BuildKit and most compilers use all cores by themselves.
    with ThreadPoolExecutor(max_workers=min(2, os.cpu_count() or 1)) as pool:
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
