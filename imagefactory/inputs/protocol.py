"""What every kind of input can do: be resolved to exact files, be fetched, and be installed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from imagefactory.model.lock import Lock, Stage, StageLock
from imagefactory.model.recipe import Release
from imagefactory.model.spec import BaseDefinition, ImageDefinition, release_of

if TYPE_CHECKING:  # what only work needs starts slowly
    from imagefactory.sandbox import Relay
    from imagefactory.system.log import Log
    from imagefactory.system.processes import Stop
    from imagefactory.system.site import Site
    from imagefactory.system.store import Store
    from imagefactory.system.web import Web

PACKAGES = "/packages"
"""Where a step that installs finds the files of its stage."""
TOOLS = "/tools"
"""Where it finds the tools that it installs with."""

AskBase: TypeAlias = "Callable[[Mapping[str, bytes], Relay], Mapping[str, bytes]]"
"""Runs the shell script ``ask.sh`` as root in the base image's tree, in a sandbox that reaches what the relay
leads to. The files are in its working folder, ``/ask``. Returns what it wrote to ``answer/``, by name."""


@dataclass(frozen=True)
class Means:
    """What a kind works with. ``scratch`` is a folder that does not outlive the work."""

    site: Site
    store: Store
    web: Web
    log: Log
    stop: Stop
    scratch: Path
    platform: str
    on_bytes: Callable[[int], None] = lambda count: None


@dataclass(frozen=True)
class Origin:
    """Whose input a file is: that of an image, or, for no image, of the base image itself."""

    base: BaseDefinition
    image: ImageDefinition | None = None
    base_lock: Lock | None = None

    @property
    def release(self) -> Release:
        """The release that apt packages come from."""
        return release_of(self.base, self.base_lock)


@dataclass(frozen=True)
class Wanted:
    """One image whose inputs are to be resolved.

    ``old`` is its last lock, whose versions are preferred where they still fit; None upgrades all.
    ``base_lock`` is what the base image holds; ``so_far`` what the kinds before have resolved.
    """

    image: ImageDefinition
    base: BaseDefinition
    base_lock: Lock
    old: Lock | None
    ask_base: AskBase
    so_far: Mapping[Stage, StageLock]

    def before(self, kind: str, stage: Stage) -> Sequence[Any]:
        """The files of a kind in one stage of the last lock."""
        return getattr(getattr(self.old, stage), kind) if self.old else ()

    @property
    def release(self) -> Release:
        """The release that apt packages come from."""
        return release_of(self.base, self.base_lock)


@dataclass(frozen=True, slots=True)
class Staged:
    """A file of a build's ``sources`` context: ``path`` there, and the stored file's sha256.

    With ``unpack`` the stored file is a tar archive, whose content becomes a folder at ``path``.
    """

    path: str
    sha256: str
    unpack: bool = False


class InputKind(Protocol):
    """One kind of input."""

    name: str

    def lock(self, wanted: Wanted, means: Means) -> Mapping[Stage, Sequence[Any]]:
        """Every file that installing needs, by stage. Raises BuildFailed, or a kind of it."""

    def fetch(self, file: Any, what: str, origin: Origin, means: Means) -> str:
        """Put one file, which the store has not, into the store; its sha256.

        ``what`` names it for people. Raises BuildFailed, or a kind of it.
        """

    def stage(self, file: Any) -> Staged:
        """Where a file stands below the folder of its stage. Pure."""

    def install(self, files: Sequence[Any], image: ImageDefinition, stage: Stage) -> str:
        """A POSIX shell script that installs what ``stage`` put in place; empty for nothing. Pure."""

    def install_unpinned(self, image: ImageDefinition, stage: Stage) -> str:
        """A POSIX shell script that chooses among what upstreams have when it runs, and installs that.

        Empty for nothing. Only builds outside the factory run it. Pure.
        """
