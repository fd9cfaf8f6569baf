"""Project images that were made and tested, sent to a cloud as they are."""

from __future__ import annotations

from imagefactory.drive.session import Session
from imagefactory.drive.uncompressed import disks_of, kept_report
from imagefactory.errors import BadInput
from imagefactory.model.spec import ImageDefinition
from imagefactory.model.target import Target, TargetId
from imagefactory.publish.cloud import Cloud
from imagefactory.publish.content import Content, DiskFormat, OnProgress
from imagefactory.publish.described import project_image
from imagefactory.publish.glance import Uploaded, upload
from imagefactory.publish.permission import require_permission
from imagefactory.publish.properties import properties_of, tags_of
from imagefactory.targets.kind import raw_of


def upload_image(
    session: Session, image: ImageDefinition, cloud: Cloud, on_progress: OnProgress, *, raw: bool = False
) -> Uploaded:
    """Have the image's disk in a cloud, under the image's name: the very file that was tested, or with
    ``raw`` the uncompressed one beside it.

    Nothing of an image or a recipe is run. Raises BadInput where there is none that was tested, or where it
    must not be published from here; else as ``glance.upload``.
    """
    kind = disks_of(session)
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
        uncompressed = raw_of(kept)
        if uncompressed is None or not uncompressed.is_file():
            raise BadInput(
                f"{image.id} has no uncompressed disk", hint=f"run imagefactory raw {image.selector}"
            )
        file = uncompressed
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
