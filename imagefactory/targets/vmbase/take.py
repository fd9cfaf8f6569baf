"""A VM base that others publish, as it is."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from imagefactory.errors import BuildFailed, disk_error
from imagefactory.guest import file_facts
from imagefactory.inputs.protocol import Means
from imagefactory.model.spec import Artifact, BaseSpec, Step

_PIECE = 1 << 20


def take_disk(spec: BaseSpec, disk: Path, means: Means) -> Artifact:
    """Copy it from the store, as a new file at ``disk``: whoever boots that writes to it.

    Raises BuildFailed, or a kind of it.
    """
    (locked,) = spec.lock.image.blobs
    name, what = f"take {locked.file}", f"{spec.name}: the store's {locked.file}"
    means.log.step(name)
    start = time.monotonic()
    try:
        with means.store.opened(locked.sha256, what, locked.bytes) as file, disk.open("xb") as out:
            shutil.copyfileobj(file, out, _PIECE)
            file.check()
    except OSError as error:
        raise disk_error(error, disk) from None
    if file_facts(disk, what).format != "qcow2":
        raise BuildFailed(f"{what} is no qcow2 file", hint=f"run imagefactory lock --upgrade {spec.name}")
    step = Step(name, round(time.monotonic() - start, 3))
    means.log.step_done(step)
    return Artifact(f"sha256:{locked.sha256}", locked.bytes, (step,), path=str(disk))
