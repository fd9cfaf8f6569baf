"""A failure of one thing is a result: it does not end the others."""

from __future__ import annotations

import contextlib
import time
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path

from imagefactory.drive.result import Result
from imagefactory.drive.session import Session
from imagefactory.errors import Bug, FactoryError, Interrupted, disk_error
from imagefactory.system.files import make_folder
from imagefactory.system.records import Desk

ERRORS = "errors.log"


def guarded(
    session: Session,
    shown: str,
    desk: Desk,
    work: Callable[[], Result],
    failed: Result,
    *,
    reads: Iterable[Desk] = (),
) -> Result:
    """Do ``work`` with the lock of its desk held, and those that it ``reads`` shared with others who do.

    Whatever it raises is put into ``failed``, which says whose it is. ``shown`` is what people call it.
    """
    start = time.monotonic()
    error: FactoryError

    def waiting() -> None:
        session.progress.phase(shown, "waiting for another build of it")

    try:
        session.stop.check()
        with contextlib.ExitStack() as held:
            for other in reads:  # first: whoever makes it asks for nothing that we hold
                held.enter_context(other.locked(waiting, session.stop, shared=True))
            held.enter_context(desk.locked(waiting, session.stop))
            return work()
    except FactoryError as known:
        error = known
    except OSError as fault:
        error = disk_error(fault, Path(fault.filename or desk.folder))
    except Exception as unknown:  # a bug in one image's way must not lose the others
        error = _bug(shown, desk, unknown)
    session.progress.done(shown, False, "interrupted" if isinstance(error, Interrupted) else "failed")
    return Result(failed.name, "failed", time.monotonic() - start, error=error, kind=failed.kind)


def _bug(shown: str, desk: Desk, error: Exception) -> Bug:
    file = desk.folder / ERRORS
    make_folder(file.parent)
    with file.open("a", encoding="utf-8") as log:
        traceback.print_exception(error, file=log)
    return Bug(
        f"{shown}: unexpected {type(error).__name__}: {error}",
        hint=f"this is a bug in imagefactory: please report it with {file}",
    )
