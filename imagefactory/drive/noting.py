"""Note what only fetched sources can tell, for everybody who fetches them next."""

from __future__ import annotations

from collections.abc import Mapping

from imagefactory.drive.session import Session
from imagefactory.locks import completed, fetched_file, lock_file, read_fetched, read_locks, write_fetched
from imagefactory.model.lock import FetchedFile, Lock, SourceFile
from imagefactory.model.spec import ImageSpec
from imagefactory.model.target import Spec
from imagefactory.system.holds import hold_file
from imagefactory.system.log import Log


def untold(lock: Lock) -> list[SourceFile]:
    """The sources of which the size, or the sha256, is not known yet."""
    sources = (file for _, file in lock.files() if isinstance(file, SourceFile))
    return [source for source in sources if not (source.bytes and source.sha256)]


def note_fetched(session: Session, spec: Spec, lock: Lock, digests: Mapping[str, str], log: Log) -> Lock:
    """Write down what the lock does not know of its sources, which the store has; the lock with that.

    ``digests`` holds by its pin the sha256 of what was fetched. Raises BadFiles or BuildFailed.
    """
    told: dict[str, FetchedFile] = {}
    for source in untold(lock):
        sha256 = source.sha256 or digests[source.pin]
        size = session.store.checked_size(sha256, f"{spec.name}: the store's {source.name} {source.version}")
        told[source.pin] = FetchedFile(commit=source.commit, bytes=size, sha256=sha256)
    if not told:
        return lock
    assert isinstance(spec, ImageSpec), "base images have no sources"
    workspace, recipe = session.workspace, spec.image.recipe
    file = fetched_file(workspace, recipe)
    with hold_file(workspace.build / f"{recipe}.lock"):  # other images of the recipe may be fetched too
        locks = read_locks(workspace, lock_file(workspace, recipe), spec.platform)
        used = {each.pin for of_image in (lock, *locks.values()) for _, each in of_image.files()}
        known = {**read_fetched(workspace, file), **told}
        write_fetched(file, [each for pin, each in known.items() if pin in used])
    for pin, noted in told.items():
        what = f"sha256 of commit {pin[:12]}" if noted.commit else f"size of archive {pin[:12]}"
        log.phase(f"noted in {workspace.shown(file)}, to be committed: {what}")
    return lock.with_sources(lambda source: completed(source, told))
