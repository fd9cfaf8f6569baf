"""What kinds have in common that use the Docker Engine."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from imagefactory.system.workspace import Workspace

if TYPE_CHECKING:
    from imagefactory.targets.common.engine import Engine


class WithEngine:
    """Finds the engine when it is first needed, for its SDK starts slowly."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    @cached_property
    def _engine(self) -> Engine:
        from imagefactory.targets.common.engine import Engine

        return Engine(self._workspace.key)
