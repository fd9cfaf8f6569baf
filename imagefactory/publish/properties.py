"""What a cloud is told of an image of a virtual machine: Glance's properties, as the Sovereign Cloud Stack's
standard SCS-0102 (docs.scs.community/standards/scs-0102-v1-image-metadata) and Nova ask for them.

Nova reads those that begin with ``hw_`` and ``os_``, people and their tools the others.
docs/reference/glance.md says what each means.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from imagefactory.errors import BadInput

MAX_LETTERS = 255
"""Of a name, a tag and a value, as Glance's schema of images has it."""
OWN = "imagefactory_"
"""How the names of our own properties begin."""
FREQUENCIES = ("yearly", "quarterly", "monthly", "weekly", "daily", "critical_bug", "never")
PURPOSES = ("generic", "minimal", "gpu", "network", "custom")
"""SCS-0102 has more, which differ between its versions: these are in each that has any."""
MACHINES = {"amd64": ("q35", "pc"), "arm64": ("virt",)}
"""QEMU's types of machine by Debian's name of the architecture; the first is told where none is named."""

_ARCHITECTURES = {"amd64": "x86_64", "arm64": "aarch64"}  # Debian's names, and Glance's
_DISTRIBUTIONS = ("debian", "ubuntu")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_LAST = re.compile(r"last-[1-9][0-9]{0,3}")
_VERSION = re.compile(r"[0-9]{1,4}(\.[0-9]{1,4})?")
_USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}")  # adduser(8)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_PLAIN = re.compile(r"[0-9A-Za-z][0-9A-Za-z._+~:-]*")
_ADDRESS = re.compile(r"https?://[^\s'\"\\<>`]+")

Firmware = Literal["bios", "uefi", "both"]
DiskBus = Literal["scsi", "virtio"]


@dataclass(frozen=True, slots=True)
class Promises:
    """What a site promises of the images that it publishes, in the words of SCS-0102.

    ``replace_frequency``: how often an image of this name is replaced, at least (one of ``FREQUENCIES``).
    ``uuid_validity``: how long a replaced one can still be had by its identifier: ``none``, ``last-N``,
    ``notice`` (until it is announced), ``forever`` or a date such as 2027-06-30. ``provided_until``: how long
    there are images of this name: ``none``, ``notice`` or a date. Dates are in UTC.
    """

    replace_frequency: str
    uuid_validity: str = "none"
    provided_until: str = "none"


@dataclass(frozen=True, slots=True)
class ProjectImage:
    """An image of a virtual machine, as it is told to a cloud.

    ``recipe`` and ``variant`` (empty where there are none) are what it was built of. ``input_digest`` and
    ``container_digest`` begin with ``sha256:``. ``architecture`` is Debian's name, ``distribution`` and
    ``release`` such as ``debian`` and ``12``. ``user`` is who logs in with a key. ``min_disk`` is in GiB,
    ``min_ram`` in MiB. ``description`` is one line or an address; empty, the title stands in for it.
    ``source`` is the address where the image can be had, or ``private``. ``built`` is a date, or a date and a
    time, in ISO 8601; without a zone it is UTC. ``firmware``: with what it boots. ``guest_agent``: whether
    QEMU's is in it. ``purpose`` is a word of SCS-0102; empty, it is ``gpu`` or ``custom``. ``machine`` is
    QEMU's type of machine; empty, it is the first of its architecture.
    """

    recipe: str
    title: str
    version: str
    input_digest: str
    container_digest: str
    architecture: str
    distribution: str
    release: str
    user: str
    min_disk: int
    min_ram: int
    built: str
    promises: Promises
    variant: str = ""
    description: str = ""
    source: str = "private"
    firmware: Firmware = "both"
    disk_bus: DiskBus = "scsi"
    machine: str = ""
    purpose: str = ""
    desktop: bool = False
    gpu: bool = False
    guest_agent: bool = False


def properties_of(image: ProjectImage) -> dict[str, str | int]:
    """The properties that an image gets in Glance, by name.

    ``min_disk`` and ``min_ram`` are numbers, all others texts. Raises BadInput where the standard, or Glance,
    does not allow a value.
    """
    _check(image)
    promises = image.promises
    properties: dict[str, str | int] = {
        "architecture": _ARCHITECTURES[image.architecture],
        "min_disk": image.min_disk,
        "min_ram": image.min_ram,
        "os_type": "linux",
        "os_distro": image.distribution,
        "os_version": image.release,
        "os_purpose": image.purpose or ("gpu" if image.gpu else "custom"),
        "os_admin_user": image.user,
        "hw_disk_bus": image.disk_bus,
        "hw_rng_model": "virtio",
        "hw_machine_type": image.machine or MACHINES[image.architecture][0],
        "hw_vif_multiqueue_enabled": "true",
        "hw_qemu_guest_agent": "yes" if image.guest_agent else "no",
        "replace_frequency": promises.replace_frequency,
        "uuid_validity": promises.uuid_validity,
        "provided_until": promises.provided_until,
        "image_source": image.source,
        "image_description": image.description or image.title,
        "image_build_date": _built(image.built),
        "image_original_user": image.user,
        f"{OWN}recipe": image.recipe,
        f"{OWN}title": image.title,
        f"{OWN}version": image.version,
        f"{OWN}input_digest": image.input_digest,
        f"{OWN}container_digest": image.container_digest,
    }
    if image.variant:
        properties[f"{OWN}variant"] = image.variant
    if image.disk_bus == "scsi":
        properties["hw_scsi_model"] = "virtio-scsi"
    if image.firmware != "both":  # which of both it boots with is the cloud's choice
        properties["hw_firmware_type"] = image.firmware
    if image.desktop:
        properties["hw_video_model"] = "virtio"
    check_properties(properties)
    return properties


def tags_of(image: ProjectImage) -> tuple[str, ...]:
    """The tags that SCS-0102 recommends: who makes the image, and its distribution."""
    return ("managed_by_imagefactory", f"os:{image.distribution}")


def check_properties(properties: Mapping[str, str | int]) -> None:
    """Raises BadInput where Glance would not take one as it is."""
    for name, value in properties.items():
        if len(name) > MAX_LETTERS:
            raise BadInput(f"{name[:40]}…: Glance takes names of {MAX_LETTERS} letters, found {len(name)}")
        if isinstance(value, str):
            _check_text(name, value)


def _check(image: ProjectImage) -> None:
    promises = image.promises
    _one_of("architecture", image.architecture, tuple(_ARCHITECTURES))
    _one_of("distribution", image.distribution, _DISTRIBUTIONS)
    _one_of("firmware", image.firmware, ("bios", "uefi", "both"))
    _one_of("disk_bus", image.disk_bus, ("scsi", "virtio"))
    if image.machine:
        _one_of("machine", image.machine, MACHINES[image.architecture])
    if image.purpose:
        _one_of("purpose", image.purpose, PURPOSES)
    if image.architecture == "arm64" and image.firmware == "bios":
        raise BadInput("firmware: no machine of arm64 boots with bios", hint="name uefi")
    _one_of("replace_frequency", promises.replace_frequency, FREQUENCIES)
    _lasts("uuid_validity", promises.uuid_validity, ("none", "notice", "forever"), count=True)
    _lasts("provided_until", promises.provided_until, ("none", "notice"), count=False)
    _matching("release", image.release, _VERSION, "a number such as 12 or 24.04")
    _matching("user", image.user, _USER, "the name of an account, such as debian")
    _matching("input_digest", image.input_digest, _DIGEST, "sha256: and 64 hexadecimal digits")
    _matching("container_digest", image.container_digest, _DIGEST, "sha256: and 64 hexadecimal digits")
    for name in ("recipe", "version", *(["variant"] if image.variant else [])):
        _matching(name, getattr(image, name), _PLAIN, "letters, digits and . _ + ~ : -")
    if image.source != "private":
        _matching("source", image.source, _ADDRESS, "an address that begins with http(s)://, or private")
    _within("min_disk", image.min_disk, 1, 1 << 14, "GiB")
    _within("min_ram", image.min_ram, 1, 1 << 22, "MiB")


def _one_of(name: str, value: str, words: tuple[str, ...]) -> None:
    if value not in words:
        raise BadInput(f"{name}: expected {' or '.join(words)}, found {value!r}")


def _matching(name: str, value: str, pattern: re.Pattern[str], expected: str) -> None:
    if not pattern.fullmatch(value):
        raise BadInput(f"{name}: expected {expected}, found {value!r}")


def _within(name: str, value: int, least: int, most: int, unit: str) -> None:
    if not least <= value <= most:
        raise BadInput(f"{name}: expected {least} to {most} {unit}, found {value}")


def _lasts(name: str, value: str, words: tuple[str, ...], *, count: bool) -> None:
    if value in words or (count and _LAST.fullmatch(value)) or (_DATE.fullmatch(value) and _is_day(value)):
        return
    forms = [*words, *(["last-N"] if count else []), "a date such as 2027-06-30"]
    raise BadInput(f"{name}: expected {', '.join(forms[:-1])} or {forms[-1]}, found {value!r}")


def _is_day(text: str) -> bool:
    try:
        datetime.date.fromisoformat(text)
    except ValueError:
        return False
    return True


def _built(text: str) -> str:
    """In UTC, as SCS-0102 writes it."""
    if _DATE.fullmatch(text) and _is_day(text):
        return text
    try:
        moment = datetime.datetime.fromisoformat(text)
        if moment.tzinfo:
            moment = moment.astimezone(datetime.UTC)
    except (ValueError, OverflowError):
        raise BadInput(
            f"built: expected a date, or a date and a time, such as 2026-11-28T20:38:04Z, found {text!r}"
        ) from None
    return f"{moment:%Y-%m-%d %H:%M:%S}"


def _check_text(name: str, value: str) -> None:
    if not value:
        raise BadInput(f"{name}: expected a text, found nothing")
    if len(value) > MAX_LETTERS:
        raise BadInput(
            f"{name}: Glance takes {MAX_LETTERS} letters, found {len(value)}", hint="make it shorter"
        )
    if not value.isprintable() or value != value.strip():
        raise BadInput(f"{name}: expected one line without control characters, found {value!r}")
