"""A kit's files, from an image's definition and a few wishes alone: no lock, engine or build is needed."""

from __future__ import annotations

import ipaddress
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from imagefactory.errors import BadInput
from imagefactory.model.spec import File, ImageDefinition
from imagefactory.system.templates import fill

MIB, GIB = 1 << 20, 1 << 30
SYSTEM_MEMORY = 512 * MIB
"""What the system and the container engine of a server take, beside what the application needs; bytes."""
SYSTEM_DISK = 8 * GIB
"""The same of the disk: Debian with Docker takes 0.7 GiB; the rest is for the application's container."""
ANYWHERE = "0.0.0.0/0"

_USER_DATA = "user-data.yaml"
# By tool: the kit's files, each with its template.
_FILES: Mapping[str, Mapping[str, str]] = {
    "terraform": {
        "README.md": "README.md.j2",
        "main.tf": "main.tf.j2",
        "variables.tf": "variables.tf.j2",
        "outputs.tf": "outputs.tf.j2",
        _USER_DATA: "user-data.yaml.j2",
    },
    "openstack": {"server.sh": "openstack.sh.j2"},
    "ansible": {
        "settings.yml": "settings.yml.j2",
        "up.yml": "up.yml.j2",
        "down.yml": "down.yml.j2",
        _USER_DATA: "user-data.yaml.j2",
    },
    "occopus": {
        "node_definitions.yaml": "node_definitions.yaml.j2",
        "infrastructure.yaml": "infrastructure.yaml.j2",
    },
    "cloud-init": {_USER_DATA: "user-data.yaml.j2"},
}
TOOLS = tuple(_FILES)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a person wants of a server, each left out where it is empty.

    ``image`` is a UUID in Glance, taken instead of the newest image of the name. ``cloud`` is an entry of
    clouds.yaml. ``allowed`` is whom to let in: a network address such as 192.0.2.0/24. Raises BadInput.
    """

    image: str = ""
    cloud: str = ""
    allowed: str = ""

    def __post_init__(self) -> None:
        """Take the usual form of each."""
        object.__setattr__(self, "image", self.image and _uuid(self.image))
        object.__setattr__(self, "allowed", self.allowed and _network(self.allowed))
        if _CONTROL.search(self.cloud) or self.cloud != self.cloud.strip():
            raise BadInput("the name of a cloud is one line, as it stands in clouds.yaml")


def kit_files(image: ImageDefinition, tool: str, wishes: Wishes) -> tuple[File, ...]:
    """The files that start a server from an image with one of ``TOOLS``; the same values, the same bytes.

    In the cloud the image is called by its identifier. No value of the recipe is more than text in them.
    Raises BadInput for a wish that has no place in that kit.
    """
    _refuse_misplaced(tool, wishes)
    values: dict[str, Any] = {
        "title": image.title,
        "name": image.id,
        "family": image.id,
        "uuid": wishes.image,
        "cloud": wishes.cloud,
        "ssh_from": wishes.allowed or ANYWHERE,
        "desktop_from": wishes.allowed,
        "memory": _whole(image.needs.memory + SYSTEM_MEMORY, MIB),
        "disk": _whole(image.needs.disk + SYSTEM_DISK, GIB),
        "gpu": bool(image.needs.gpu),
        "desktop": image.needs.desktop,
    }
    values["user_data"] = fill(__package__, "user-data.yaml.j2", values)
    return tuple(
        File(path, 0o755 if path.endswith(".sh") else 0o644, fill(__package__, template, values).encode())
        for path, template in _FILES[tool].items()
    )


def _refuse_misplaced(tool: str, wishes: Wishes) -> None:
    without = {"cloud-init": ("image", "cloud", "allowed"), "occopus": ("cloud", "allowed")}
    options = {"image": "--image", "cloud": "--cloud", "allowed": "--from"}
    for name in without.get(tool, ()):
        if getattr(wishes, name):
            raise BadInput(f"{options[name]} has no place in the files for {tool}", hint="leave it out")


def _whole(amount: int, unit: int) -> int:
    """In that unit, rounded up."""
    return -(-amount // unit)


def _uuid(value: str) -> str:
    try:
        return str(uuid.UUID(value))
    except ValueError:
        raise BadInput(
            f"'{value}' is no UUID of an image",
            hint="openstack image list shows the UUID of each image; leave --image out for the newest",
        ) from None


def _network(value: str) -> str:
    try:
        return str(ipaddress.ip_network(value))
    except ValueError as error:
        raise BadInput(
            f"--from takes a network address: {error}", hint="such as 192.0.2.0/24, or 192.0.2.7/32 for one"
        ) from None
