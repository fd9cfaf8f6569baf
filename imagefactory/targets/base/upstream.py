"""A base image that is taken from a registry: its parts out of the store as an OCI layout, as they are."""

from __future__ import annotations

import json
import time
from pathlib import Path

from imagefactory.errors import BuildFailed, disk_error
from imagefactory.inputs.protocol import Means
from imagefactory.inputs.registry import MANIFEST, MANIFESTS
from imagefactory.model.lock import BlobFile
from imagefactory.model.spec import Artifact, BaseSpec, Step
from imagefactory.system.store import place_file
from imagefactory.targets.common.layouts import layer_bytes


def take_upstream(spec: BaseSpec, layout: Path, means: Means) -> Artifact:
    """Lay the image out, from the store alone, as a new OCI layout at ``layout``.

    It keeps its digest, so that anybody can see whose it is. Raises BuildFailed, or a kind of it.
    """
    name = "lay out the upstream image"
    means.log.step(name)
    start = time.monotonic()
    blobs = spec.lock.image.blobs
    try:
        for blob in blobs:
            means.stop.check()
            what = _check(spec, blob, means)
            target = layout / "blobs" / "sha256" / blob.sha256
            place_file(means.store, blob.sha256, target, what, blob.bytes)
        manifest = next(blob for blob in blobs if blob.name == MANIFEST)
        content = (layout / "blobs" / "sha256" / manifest.sha256).read_bytes()
        entry = {
            # Where a manifest does not say what it is, it is OCI's, which need not.
            "mediaType": json.loads(content).get("mediaType", MANIFESTS[0]),
            "digest": f"sha256:{manifest.sha256}",
            "size": len(content),
        }
        index = {"schemaVersion": 2, "manifests": [entry]}
        (layout / "index.json").write_text(json.dumps(index), encoding="utf-8")
        (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}', encoding="utf-8")
    except OSError as error:
        raise disk_error(error, layout) from None
    step = Step(name, round(time.monotonic() - start, 3))
    means.log.step_done(step)
    return Artifact(entry["digest"], layer_bytes(json.loads(content)), (step,), path=str(layout))


def _check(spec: BaseSpec, blob: BlobFile, means: Means) -> str:
    """What it is in words, if the store has it."""
    if not means.store.has(blob.sha256):
        raise BuildFailed(
            f"{spec.name}: the store lacks the upstream image's {blob.name}",
            hint=f"run imagefactory fetch {spec.name}",
        )
    return f"{spec.name}: the store's {blob.name} of the upstream image"
