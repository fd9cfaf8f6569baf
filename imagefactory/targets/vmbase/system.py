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
_FOR = {"desktop": "xrdp", "gpu": "nvidia-kernel-dkms"}
"""What VM bases may have more, by the folder of its files, and the package that they are for; settle-….sh is
its part of the installation.
"""
_FILLED = ".j2"


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
    return tuple(
        _written(folder, name, values)
        for folder in (_SYSTEM, *_more(spec))
        for name in sorted(_listed(files(__package__) / "templates" / folder))
    )


def _more(spec: BaseSpec) -> list[str]:
    return [folder for folder, package in _FOR.items() if package in spec.base.base.packages]


def named_packages(spec: BaseSpec) -> list[str]:
    """The packages that somebody asked for, as it knows them: the others are there for these. Pure."""
    machine = spec.base.machine
    assert machine
    newer = (name for names in machine.newer.values() for name in names)
    private = (name for programs in machine.private.values() for name in programs)
    return sorted({"apt", *spec.base.base.packages, *newer, *private})


def maker(spec: BaseSpec) -> str:
    """sha256 over the programs that make it."""
    scripts = (settle_script(spec), *map(script, (PRIVATE, DISK, BIOS)))
    return hashlib.sha256("\0".join(scripts).encode()).hexdigest()


def settle_script(spec: BaseSpec) -> str:
    """What runs in the new system, as the last of its installation."""
    return "".join(script(f"settle-{name}.sh") for name in _more(spec)) + script(SETTLE)


def script(name: str) -> str:
    """One of those programs."""
    return text_of(__package__, name)


def _listed(folder: Traversable, above: str = "") -> Iterator[str]:
    for each in folder.iterdir():
        path = f"{above}{each.name}"
        yield from _listed(each, f"{path}/") if each.is_dir() else (path,)


def _written(folder: str, name: str, values: Mapping[str, str]) -> File:
    place = f"{folder}/{name}"
    text = fill(__package__, place, values) if name.endswith(_FILLED) else text_of(__package__, place)
    return File(name.removesuffix(_FILLED), 0o755 if text.startswith("#!") else 0o644, text.encode())
