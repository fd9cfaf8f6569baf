"""A failure of one image is a result: it does not end the others."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from pathlib import Path

from imagefactory.errors import Bug, FactoryError, Interrupted, disk_error
from imagefactory.log import Progress
from imagefactory.model.spec import Format
from imagefactory.pipeline.result import Result
from imagefactory.records import Record
from imagefactory.run import Stop


def guarded(
    id: str,
    record: Record,
    progress: Progress,
    stop: Stop,
    work: Callable[[], Result],
    *,
    format: Format = "oci",
) -> Result:
    """Do ``work`` with the lock of its image held. Whatever it raises becomes a failed result."""
    start = time.monotonic()
    error: FactoryError
    try:
        stop.check()
        with record.locked(lambda: progress.phase(id, "waiting for another build of it"), stop):
            return work()
    except FactoryError as known:
        error = known
    except OSError as fault:
        error = disk_error(fault, Path(fault.filename or record.folder))
    except Exception as unknown:  # a bug in one image's way must not lose the others
        error = _bug(id, record, unknown)
    progress.done(id, False, "interrupted" if isinstance(error, Interrupted) else "failed")
    return Result(id, "failed", time.monotonic() - start, error=error, format=format)


def _bug(id: str, record: Record, error: Exception) -> Bug:
    with record.log_file.open("a", encoding="utf-8") as log:
        traceback.print_exception(error, file=log)
    return Bug(
        f"{id}: unexpected {type(error).__name__}: {error}",
        hint=f"this is a bug in imagefactory: please report it with {record.log_file}",
    )
