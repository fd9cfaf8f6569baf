"""The register of kinds of targets, a line each. Their rooms are entered only when one is used."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Literal

from imagefactory.model.target import Target, TargetId, Unlocked

if TYPE_CHECKING:
    from imagefactory.system.workspace import Workspace
    from imagefactory.targets.kind import Kind

Source = Literal["base_images", "vm_bases", "recipes"]


@dataclass(frozen=True, slots=True)
class Line:
    """One kind: its name; whether each base image, each VM base or each image has a target of it; what it is
    called; how it is told from others behind a name, such as "(SIF)"; what it is for; and the class, as
    module:name, which is made with a workspace. One that is ``asked`` for is made only where people name it.
    """

    name: str
    source: Source
    title: str
    suffix: str
    purpose: str
    place: str
    asked: bool = False


_LINES: list[Line] = [
    Line("base", "base_images", "base image", "", "to build on", "imagefactory.targets.base.kind:BaseKind"),
    Line("vmbase", "vm_bases", "VM base", "", "to build on", "imagefactory.targets.vmbase.kind:VmBaseKind"),
    Line("oci", "recipes", "OCI image", "", "for Docker", "imagefactory.targets.oci.kind:OciKind"),
    Line("sif", "recipes", "SIF file", "(SIF)", "for clusters", "imagefactory.targets.sif.kind:SifKind"),
    Line(
        "vm", "recipes", "VM image", "(VM)", "for clouds", "imagefactory.targets.vm.kind:VmKind", asked=True
    ),
]


def lines(source: Source | None = None) -> list[Line]:
    """The lines of the register, those needed by others first: of all kinds, or of those with a source."""
    return [line for line in _LINES if source in (None, line.source)]


def line(kind: str) -> Line:
    """The line of a kind. Raises KeyError for none."""
    for each in _LINES:
        if each.name == kind:
            return each
    raise KeyError(kind)


def add(new: Line) -> None:
    """Add a kind, from wherever it comes, behind those that are there."""
    _LINES.append(new)


def know(lines: Iterable[Line]) -> None:
    """Add those kinds that are not there."""
    there = {line.name for line in _LINES}
    _LINES.extend(line for line in lines if line.name not in there)


def remove(kind: str) -> None:
    """Take a kind out."""
    _LINES.remove(line(kind))


def shown(id: TargetId) -> str:
    """A target as people read it in a line of progress, such as ``fsl (SIF)``."""
    return f"{id.name} {line(id.kind).suffix}".rstrip()


def called(id: TargetId) -> str:
    """A target as people read it in a sentence, such as ``SIF file fsl``."""
    return f"{line(id.kind).title} {id.name}"


class Kinds(Mapping[str, "Kind"]):
    """The kinds at work in one checkout, each made when it is first asked for."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._made: dict[str, Kind] = {}
        self._lock = threading.Lock()

    def __getitem__(self, name: str) -> Kind:
        with self._lock:
            if name not in self._made:
                module, _, word = line(name).place.partition(":")
                self._made[name] = getattr(import_module(module), word)(self._workspace)
            return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return (line.name for line in _LINES)

    def __len__(self) -> int:
        return len(_LINES)

    def of(self, target: Target | Unlocked) -> Kind:
        """The kind of a target."""
        return self[target.id.kind]

    def having(self, capability: type, among: Iterable[str] | None = None) -> list[Kind]:
        """The kinds that have a capability, one of the protocols in ``kind.py``."""
        kinds = (self[name] for name in (self if among is None else among))
        return [kind for kind in kinds if isinstance(kind, capability)]
