"""The same disk uncompressed, for clouds that keep images on Ceph: they start servers of it at once."""

from __future__ import annotations

import time

from imagefactory.guest import copy_raw
from imagefactory.model.spec import Artifact, Step
from imagefactory.system.store import file_sha256
from imagefactory.targets.kind import Job, Kept

_STEP = "write it uncompressed"


def write_raw(job: Job, kept: Kept) -> Artifact:
    """Write what was kept as a sparse raw file beside it, where it takes the place of an older one at once.

    Raises BuildFailed, or a kind of it; then nothing new is there.
    """
    start = time.monotonic()
    job.log.step(_STEP)
    raw = copy_raw(kept.path, job.scratch, job.stop, job.log.line)
    digest, size = f"sha256:{file_sha256(raw)}", raw.stat().st_size
    place = raw.replace(kept.path.with_suffix(".raw"))
    step = Step(_STEP, round(time.monotonic() - start, 3))
    job.log.step_done(step)
    return Artifact(digest, size, (step,), path=str(place))
