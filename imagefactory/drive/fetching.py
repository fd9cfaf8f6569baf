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
from imagefactory.drive.result import Result
from imagefactory.drive.session import Session
from imagefactory.errors import BuildFailed, FactoryError, NetworkFault
from imagefactory.inputs import KINDS, Means, Origin
from imagefactory.model.lock import Lock, LockedFile
from imagefactory.model.spec import ImageSpec
from imagefactory.model.target import Spec
from imagefactory.system.log import Log

_WORKERS = 6
_SHOWN = 5  # failures
_HOPELESS = 3  # files that the network did not bring, after which no others are tried
LABELS = {"apt": "apt package", "pip": "Python package", "conda": "conda package", "sources": "source"}


def ensure_fetched(session: Session, name: str, spec: Spec, lock: Lock) -> Result:
    """Fetch what the store lacks of the inputs of one image, or base image."""
    origin = Origin(spec.base.base, spec.image) if isinstance(spec, ImageSpec) else Origin(spec.base)
    home = session.home(name)

    def work() -> Result:
        missing = missing_files(session, lock)
        if not missing:
            return Result(name, "nothing", 0.0)
        start = time.monotonic()
        with (
            contextlib.closing(Log(name, home.folder / "fetch.log", session.progress)) as log,
            home.scratch_folder() as scratch,
        ):
            total = sum(file.bytes for _, file in missing)
            log.phase(f"fetching: {len(missing)} of its inputs are not in the store")
            _fetch(session, name, origin, missing, log, scratch, total)
            log.done(True, "fetched")
        return Result(name, "fetch", time.monotonic() - start, (f"{len(missing)} files, {total} bytes",))

    if not missing_files(session, lock):
        return Result(name, "nothing", 0.0)
    return guarded(session, name, home, work, Result(name, "failed", 0.0))


def missing_files(session: Session, lock: Lock) -> list[tuple[str, LockedFile]]:
    """What the store lacks, with its kind."""
    return [(kind, file) for kind, file in lock.files() if not session.store.has(file.sha256)]


def what_it_is(kind: str, file: LockedFile, origin: Origin) -> str:
    """A file as messages name it: whose input it is, and which."""
    home = f"recipes/{origin.image.recipe}" if origin.image else f"base_images/{origin.base.base.name}"
    return f"{home}: {LABELS[kind]} {file.name} {file.version}"


class _Count:
    """Bytes so far, told to the watcher."""

    def __init__(self, session: Session, id: str, total: int) -> None:
        self._session, self._id, self._total = session, id, total
        self._lock = threading.Lock()
        self._done = 0

    def add(self, count: int) -> None:
        with self._lock:
            self._done = min(self._done + count, self._total)
            self._session.progress.amount(self._id, self._done, self._total)


def _fetch(
    session: Session,
    id: str,
    origin: Origin,
    missing: Iterable[tuple[str, LockedFile]],
    log: Log,
    scratch: Path,
    total: int,
) -> None:
    count = _Count(session, id, total)
    means = session.means(log, scratch, origin.base.platform, count.add)
    failures: list[FactoryError] = []
    with ThreadPoolExecutor(max_workers=min(_WORKERS, 2 * (os.cpu_count() or 1))) as pool:
        futures = [pool.submit(_fetch_one, kind, file, origin, means) for kind, file in missing]
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
        except BaseException:  # a signal: the downloads end by themselves
            session.stop.now()
            for future in futures:
                future.cancel()
            raise
    session.stop.check()
    if failures:
        raise _all_of(failures, sum(future.cancelled() for future in futures))


def _fetch_one(kind: str, file: LockedFile, origin: Origin, means: Means) -> None:
    means.stop.check()
    if not means.store.has(file.sha256):
        KINDS[kind].fetch(file, what_it_is(kind, file, origin), origin, means)


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
