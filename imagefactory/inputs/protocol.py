"""What every kind of input can do: be resolved to exact files, be fetched, and be installed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from imagefactory.log import Log
from imagefactory.model.lock import Lock, LockedFile, Stage, StageLock
from imagefactory.model.spec import BaseDefinition, ImageDefinition
from imagefactory.run import Stop
from imagefactory.site import Site
from imagefactory.store import Store

PACKAGES = "/packages"
"""Where a step that installs finds the files of its stage: apt/, pip/ and conda/."""
SOURCES = "/sources"
"""Where install.sh finds each source, in a folder of its name."""

InBase = Callable[[str, Mapping[str, bytes]], Path]
"""Runs a shell script as root in the base image, with network, with ``files`` in /ask and the site's
settings in force, and returns a folder with what it wrote in /answer."""


@dataclass(frozen=True, slots=True)
class Means:
    """What a kind works with. ``scratch`` is a folder that does not outlive the work."""

    site: Site
    store: Store
    log: Log
    stop: Stop
    scratch: Path


@dataclass(frozen=True, slots=True)
class Wanted:
    """One image whose inputs are to be resolved.

    ``old`` is its last lock, whose files are preferred where they still fit; None upgrades all.
    ``base_lock`` is what the base image holds; ``so_far`` what the kinds before have resolved.
    """

    image: ImageDefinition
    base: BaseDefinition
    base_lock: Lock
    old: Lock | None
    in_base: InBase
    so_far: Mapping[Stage, StageLock] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Staged:
    """A file or folder of a build's ``sources`` context: ``path`` there, and the stored file's sha256.

    With ``unpack`` the stored file is a tar archive whose content becomes a folder at ``path``.
    """

    path: str
    sha256: str
    unpack: bool = False


class Kind(Protocol):
    """One kind of input."""

    name: str

    def lock(self, wanted: Wanted, means: Means) -> Mapping[Stage, Sequence[LockedFile]]:
        """Every file that installing needs, by stage. Raises BuildFailed, or a kind of it."""

    def fetch(self, files: Sequence[LockedFile], image: ImageDefinition, means: Means) -> None:
        """Have the store hold every one of ``files``, which it does not hold yet.

        Raises BuildFailed, or a kind of it, with recipe, input, and what was expected and found.
        """

    def stage(self, files: Sequence[LockedFile], image: ImageDefinition) -> Sequence[Staged]:
        """Where each file stands below the folder of its stage. Pure."""

    def install(self, files: Sequence[LockedFile], image: ImageDefinition, stage: Stage) -> str:
        """A POSIX shell script that installs what ``stage`` put in place; empty for nothing. Pure."""
