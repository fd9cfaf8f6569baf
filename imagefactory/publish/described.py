"""What the factory knows of a project image, as a cloud is told of it."""

from __future__ import annotations

import re

from imagefactory.errors import BadInput
from imagefactory.model.report import Report
from imagefactory.model.settings import CloudImages
from imagefactory.model.spec import BaseDefinition, ImageDefinition
from imagefactory.publish.properties import ProjectImage, Promises
from imagefactory.targets.kind import MachineFacts

GIB = 1 << 30
_SYSTEM = re.compile(r"([a-z]+)-([0-9]+(?:\.[0-9]+)?)-")


def project_image(
    image: ImageDefinition,
    report: Report,
    facts: MachineFacts,
    base: BaseDefinition,
    disk: int,
    settings: CloudImages,
) -> ProjectImage:
    """It, for ``properties_of``. ``disk`` is the size in bytes of the disk that a machine sees, ``base`` its
    VM base.

    Raises BadInput where the name of the VM base does not say which system it is.
    """
    system = _SYSTEM.match(base.base.name)
    if system is None or base.machine is None:
        raise BadInput(
            f"{base.base.name}: a cloud is told which system an image has, and this name does not say it",
            hint="call the VM base by its distribution and release, such as debian-13-…-vm",
        )
    return ProjectImage(
        recipe=image.recipe,
        title=image.title,
        version=report.version,
        variant=image.id.removeprefix(f"{image.recipe}-") if image.id != image.recipe else "",
        input_digest=f"sha256:{report.input_digest}",
        container_digest=facts.container_digest,
        architecture=base.platform.partition("/")[2],
        distribution=system[1],
        release=system[2],
        user=base.machine.user,
        min_disk=-(-disk // GIB),
        min_ram=facts.memory_mib,
        built=report.built,
        promises=Promises(settings.replace_frequency, settings.uuid_validity, settings.provided_until),
        desktop=image.needs.desktop,
        gpu=image.needs.gpu is not None,
        guest_agent=base.machine.upstream is None,
    )
