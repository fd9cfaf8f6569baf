"""The files that tests read: fetched once into the store, laid out for each run of tests."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

from imagefactory.drive.guard import guarded
from imagefactory.drive.result import Result
from imagefactory.drive.session import Session
from imagefactory.errors import disk_error
from imagefactory.inputs.mirrors import fetch_any
from imagefactory.inputs.protocol import Means
from imagefactory.model.expected import Expected
from imagefactory.model.spec import ImageDefinition
from imagefactory.system.log import Log
from imagefactory.system.store import Store, place_file
from imagefactory.testing.subject import Mount

DATA_AT = "/data"


def fetch_data(image: ImageDefinition, means: Means, *, full: bool) -> int:
    """Have the store hold the files that tests read; how many it lacked. Raises BuildFailed, or a kind."""
    missing = {
        name: data
        for name, data in image.data_of_tests(full=full).items()
        if not means.store.has(data.sha256)
    }
    for name, data in missing.items():
        means.log.step(f"fetch test data {name}")
        what = f"recipes/{image.recipe}: test data {name}"
        fetch_any((data.url, *data.mirrors), Expected(what, data.sha256), means)
    return len(missing)


def ensure_data(session: Session, image: ImageDefinition) -> Result:
    """The same as a step of its own, for what comes before building."""
    wanted, home = image.data_of_tests(full=session.full), session.home(image.id)
    if all(session.store.has(data.sha256) for data in wanted.values()):
        return Result(image.id, "nothing", 0.0)

    def work() -> Result:
        start = time.monotonic()
        with (
            contextlib.closing(Log(image.id, home.folder / "fetch.log", session.progress)) as log,
            home.scratch_folder() as scratch,
        ):
            log.phase("fetching test data")
            count = fetch_data(image, session.means(log, scratch, ""), full=session.full)
            log.done(True, "fetched")
        return Result(image.id, "fetch", time.monotonic() - start, (f"{count} files of test data",))

    return guarded(session, image.id, home, work, Result(image.id, "failed", 0.0))


def lay_out(image: ImageDefinition, folder: Path, store: Store, *, full: bool) -> tuple[Mount, ...]:
    """Each of them in a folder of its own, as an image sees it. Raises BuildFailed."""
    mounts = []
    for name, data in image.data_of_tests(full=full).items():
        target = folder / name / data.filename
        try:
            place_file(store, data.sha256, target, f"recipes/{image.recipe}: the store's test data {name}")
            for each in (folder, folder / name):
                each.chmod(0o755)  # the tests' user is another
        except OSError as error:
            raise disk_error(error, target) from None
        mounts.append(Mount(folder / name, f"{DATA_AT}/{name}"))
    return tuple(mounts)
