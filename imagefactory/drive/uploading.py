"""Project images that were made and tested, sent to a cloud as they are."""

from __future__ import annotations

from pathlib import Path

from imagefactory.drive.session import Session
from imagefactory.drive.uncompressed import kept_report
from imagefactory.errors import BadInput
from imagefactory.model.spec import ImageDefinition
from imagefactory.model.target import Target, TargetId
from imagefactory.publish.cloud import Cloud
from imagefactory.publish.content import Content, DiskFormat, OnProgress
from imagefactory.publish.described import project_image
from imagefactory.publish.glance import Uploaded, upload
from imagefactory.publish.permission import require_permission
from imagefactory.publish.properties import properties_of, tags_of
from imagefactory.system.store import file_sha256
from imagefactory.targets.kind import Kept, Machines, raw_of


def upload_image(
    session: Session, image: ImageDefinition, cloud: Cloud, on_progress: OnProgress, *, raw: bool = False
) -> Uploaded:
    """Have the image's disk in a cloud, under the image's name: the very file that was tested, or with
    ``raw`` the uncompressed one beside it.

    Nothing of an image or a recipe is run. Raises BadInput where there is none that was tested, or where it
    must not be published from here; else as ``glance.upload``.
    """
    (kind,) = (each for each in session.kinds.values() if isinstance(each, Machines))
    id = TargetId(kind.name, image.id)
    target = session.resolver.graph([image], [id])[id]
    report = kept_report(session, image, target)
    assert isinstance(target, Target)
    settings = session.site.settings
    require_permission(report, settings)
    kept = session.kept(target, report)
    file = kept.path
    disk_format: DiskFormat = "raw" if raw else "qcow2"
    if raw:
        file = _uncompressed(kept, image)
    else:
        kind.verify(kept)
    facts = kind.machine(kept)
    base = session.resolver.base(facts.base).definition
    with Content(file, disk_format) as content:
        disk = content.disk_bytes
    about = project_image(image, report, facts, base, disk, settings.cloud_images)
    return upload(
        cloud,
        file,
        disk_format,
        image.id,
        properties_of(about),
        tags_of(about),
        settings.cloud_images.visibility,
        on_progress,
    )


def _uncompressed(kept: Kept, image: ImageDefinition) -> Path:
    """The raw disk beside it, which is the one that was written then. Raises BadInput."""
    file, held = raw_of(kept), kept.report.raw
    hint = f"run imagefactory raw {image.selector}"
    if file is None or held is None or not file.is_file():
        raise BadInput(f"{image.id} has no uncompressed disk", hint=hint)
    if f"sha256:{file_sha256(file)}" != held.digest:
        raise BadInput(f"{file} is damaged", hint=f"remove it, then {hint}")
    return file
