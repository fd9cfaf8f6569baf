"""Fetch: have the store hold every input that the locks name."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from imagefactory.drive.guard import guarded
from imagefactory.drive.noting import note_fetched, untold
from imagefactory.drive.result import Result
from imagefactory.drive.session import Session
from imagefactory.errors import BuildFailed, FactoryError, NetworkFault
from imagefactory.inputs.kinds import KINDS
from imagefactory.inputs.protocol import Means, Origin
from imagefactory.model.lock import Lock, LockedFile
from imagefactory.model.spec import ImageSpec
from imagefactory.model.target import Spec
from imagefactory.system.log import Log
from imagefactory.system.store import Store

_WORKERS = 6
_SHOWN = 5  # failures
_HOPELESS = 3  # files that the network did not bring, after which no others are tried
LABELS = {
    "apt": "apt package",
    "pip": "Python package",
    "conda": "conda package",
    "sources": "source",
    "blobs": "upstream image's",
}


def ensure_fetched(session: Session, name: str, spec: Spec, lock: Lock) -> tuple[Result, Lock]:
    """Fetch what the store lacks of the inputs of one image, or base image.

    The result, and the lock with what the fetched files told.
    """
    origin = (
        Origin(spec.base.base, spec.image, spec.base.lock)
        if isinstance(spec, ImageSpec)
        else Origin(spec.base, base_lock=spec.lock)
    )
    home, whole = session.home(name), lock

    def work() -> Result:
        nonlocal whole
        missing = missing_files(session, lock)
        start = time.monotonic()
        with (
            contextlib.closing(Log(name, home.folder / "fetch.log", session.progress)) as log,
            home.scratch_folder() as scratch,
        ):
            digests: dict[str, str] = {}
            if missing:
                log.phase(f"fetching: {len(missing)} of its inputs are not in the store")
                digests = _fetch(session, name, origin, missing, log, scratch)
            whole = note_fetched(session, spec, lock, digests, log)
            log.done(True, "fetched")
        total = sum(session.store.size(digest) for digest in digests.values())
        words = (f"{len(missing)} files, {total} bytes",) if missing else ()
        return Result(name, "fetch" if missing else "nothing", time.monotonic() - start, words)

    if not missing_files(session, lock) and not untold(lock):
        return Result(name, "nothing", 0.0), lock
    result = guarded(session, name, home, work, Result(name, "failed", 0.0))
    return result, whole


def missing_files(session: Session, lock: Lock) -> list[tuple[str, LockedFile]]:
    """What the store lacks, with its kind."""
    return [(kind, file) for kind, file in lock.files() if not _is_stored(session.store, file)]


def _is_stored(store: Store, file: LockedFile) -> bool:
    return bool(file.sha256) and store.has(file.sha256)


def what_it_is(kind: str, file: LockedFile, origin: Origin) -> str:
    """A file as messages name it: whose input it is, and which."""
    home = f"recipes/{origin.image.recipe}" if origin.image else f"base_images/{origin.base.base.name}"
    return f"{home}: {LABELS[kind]} {file.name} {file.version}"


class _Count:
    """Bytes so far, told to the watcher; ``total`` is 0 where it is not known."""

    def __init__(self, session: Session, id: str, total: int) -> None:
        self._session, self._id, self._total = session, id, total
        self._lock = threading.Lock()
        self._done = 0

    def add(self, count: int) -> None:
        with self._lock:
            done = self._done + count
            self._done = min(done, self._total) if self._total else done
            self._session.progress.amount(self._id, self._done, self._total)


def _fetch(
    session: Session,
    id: str,
    origin: Origin,
    missing: Iterable[tuple[str, LockedFile]],
    log: Log,
    scratch: Path,
) -> dict[str, str]:
    """The sha256 of each file that was fetched, by what pins it."""
    missing = list(missing)
    # Where not all sizes are known, what is left cannot be told.
    known = all(file.bytes for _, file in missing)
    count = _Count(session, id, sum(file.bytes for _, file in missing) if known else 0)
    means = session.means(log, scratch, origin.base.platform, count.add)
    failures: list[FactoryError] = []
    with ThreadPoolExecutor(max_workers=min(_WORKERS, 2 * (os.cpu_count() or 1))) as pool:
        futures = {pool.submit(_fetch_one, kind, file, origin, means): file.pin for kind, file in missing}
        try:
            for future in as_completed(futures):
                if future.cancelled():
                    continue
                error = future.exception()
                if isinstance(error, FactoryError):
                    failures.append(error)
                elif error:
                    raise error
                if sum(isinstance(failure, NetworkFault) for failure in failures) >= _HOPELESS:
                    for other in futures:  # each would try, and wait, for as long
                        other.cancel()
        except BaseException as fault:
            if isinstance(fault, KeyboardInterrupt):  # which reaches a command's own thread, and no worker
                session.stop.now()
            for future in futures:
                future.cancel()
            raise
    session.stop.check()
    if failures:
        raise _all_of(failures, sum(future.cancelled() for future in futures))
    return {pin: future.result() for future, pin in futures.items()}


def _fetch_one(kind: str, file: LockedFile, origin: Origin, means: Means) -> str:
    means.stop.check()
    if _is_stored(means.store, file):
        return file.sha256
    return KINDS[kind].fetch(file, what_it_is(kind, file, origin), origin, means)


def _all_of(failures: list[FactoryError], untried: int) -> FactoryError:
    """One failure that names the others: there may be hundreds."""
    if len(failures) == 1 and not untried:
        return failures[0]
    lines = [error.message for error in failures[:_SHOWN]]
    if len(failures) > _SHOWN:
        lines.append(f"and {len(failures) - _SHOWN} more inputs")
    if untried:
        lines.append(f"{untried} more inputs were not tried")
    hints = dict.fromkeys(error.hint for error in failures if error.hint)
    return BuildFailed("\n".join(lines), hint=next(iter(hints), ""))
