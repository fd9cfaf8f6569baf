"""Launchers for images that are built and tested."""

from __future__ import annotations

from pathlib import Path

from imagefactory.backends.protocol import Backend
from imagefactory.errors import BadInput
from imagefactory.model.spec import Format, ImageDefinition
from imagefactory.pipeline.sif import check_sif, has_sif
from imagefactory.records import record_of
from imagefactory.workspace import Workspace
from imagefactory.wrappers import Wrapped, write_wrappers


def wrap_image(
    workspace: Workspace, image: ImageDefinition, backend: Backend, format: Format, to: Path
) -> Wrapped:
    """Write the launchers of one image below ``to``. Raises BadInput where it is not there and tested."""
    record = record_of(workspace, image.id)
    report = record.read()
    hint = f"run imagefactory build {image.id}"
    if report is None or report.status != "passed":
        raise BadInput(f"{image.id} is not built and tested", hint=hint)
    if report.stand_ins:
        raise BadInput(
            f"{image.id} holds stand-ins: nobody should take it for the software",
            hint="take the stand-ins out of site.yaml, and build it again",
        )
    if format == "oci":
        if not backend.find(report.reference, report.image_digest):
            raise BadInput(f"the Docker Engine no longer has {report.reference}", hint=hint)
        return write_wrappers(image, report, format, None, to)
    sif = report.sif
    if (
        not sif
        or not has_sif(record, report)
        or sif.status != "passed"
        or sif.made_from != report.image_digest
    ):
        raise BadInput(
            f"{image.id} has no SIF file that passed its tests",
            hint=f"{hint}, or give --format oci for launchers that run it in Docker",
        )
    check_sif(record, sif)
    return write_wrappers(image, report, format, record.folder / sif.file, to)
