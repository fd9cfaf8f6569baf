"""What a VM base is told beside its packages: settings of its system, and the names of its disk."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator, Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable

from imagefactory.model.spec import BaseSpec, File
from imagefactory.system.templates import fill, text_of

SETTLE, PRIVATE, DISK, BIOS = "settle.sh", "private.sh", "disk.sh", "bios.py"
_SYSTEM = "system"
_FILLED = ".j2"
# Files for systems with a package alone, by the package.
_ONLY_WITH = {"etc/dkms/framework.conf.d/imagefactory.conf": "dkms"}


def names_of(spec: BaseSpec) -> dict[str, str]:
    """The UUIDs of its disk, its partitions and its root file system: the same for the same packages."""
    of = f"{spec.name} {spec.platform} {spec.lock.digest}"
    words = ("DISK_ID", "BOOT_ID", "ESP_ID", "ROOT_ID", "ROOT_FS")
    return {word: str(uuid.uuid5(uuid.NAMESPACE_URL, f"imagefactory:{of} {word}")) for word in words}


def system_files(spec: BaseSpec) -> tuple[File, ...]:
    """The files that it gets beside those of packages, with their paths in it. Pure."""
    machine = spec.base.machine
    assert machine
    values = {"user": machine.user, "root": names_of(spec)["ROOT_FS"]}
    there = {file.name for file in spec.lock.image.apt}
    return tuple(
        _written(name, values)
        for name in sorted(_listed(files(__package__) / "templates" / _SYSTEM))
        if _ONLY_WITH.get(name, name) in {name, *there}
    )


def named_packages(spec: BaseSpec) -> list[str]:
    """The packages that somebody asked for, as it knows them: the others are there for these. Pure."""
    machine = spec.base.machine
    assert machine
    newer = (name for names in machine.newer.values() for name in names)
    private = (name for programs in machine.private.values() for name in programs)
    return sorted({"apt", *spec.base.base.packages, *newer, *private})


def maker() -> str:
    """sha256 over the programs that make it."""
    return hashlib.sha256("\0".join(map(script, (SETTLE, PRIVATE, DISK, BIOS))).encode()).hexdigest()


def script(name: str) -> str:
    """One of those programs."""
    return text_of(__package__, name)


def _listed(folder: Traversable, above: str = "") -> Iterator[str]:
    for each in folder.iterdir():
        path = f"{above}{each.name}"
        yield from _listed(each, f"{path}/") if each.is_dir() else (path,)


def _written(name: str, values: Mapping[str, str]) -> File:
    place = f"{_SYSTEM}/{name}"
    text = fill(__package__, place, values) if name.endswith(_FILLED) else text_of(__package__, place)
    return File(name.removesuffix(_FILLED), 0o644, text.encode())
