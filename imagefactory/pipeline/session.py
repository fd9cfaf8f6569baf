"""What every step of a run works with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from imagefactory.backends.protocol import Backend, Converter
from imagefactory.inputs import Means
from imagefactory.log import Log, Progress
from imagefactory.run import Stop
from imagefactory.site import Site
from imagefactory.store import Store
from imagefactory.workspace import Workspace

if TYPE_CHECKING:
    from imagefactory.web import Web


@dataclass(frozen=True)
class Session:
    """One run of the factory: where, with what, who watches, and what ends it."""

    workspace: Workspace
    site: Site
    backend: Backend
    apptainer: Converter
    progress: Progress
    stop: Stop

    @cached_property
    def store(self) -> Store:
        """The store of this site."""
        return Store(self.site.store)

    @cached_property
    def web(self) -> Web:
        """One client for all downloads."""
        from imagefactory.web import Web  # starts slowly, and most runs download nothing

        return Web(self.site, self.stop)

    def means(
        self, log: Log, scratch: Path, platform: str, on_bytes: Callable[[int], None] = lambda count: None
    ) -> Means:
        """What a kind of input works with."""
        return Means(self.site, self.store, self.web, log, self.stop, scratch, platform, on_bytes)
