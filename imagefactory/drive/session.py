"""What every step of a run works with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from imagefactory.model.report import Report
from imagefactory.model.target import Target, TargetId
from imagefactory.plan import Resolver
from imagefactory.system.records import Home, Record, home_of, record_of
from imagefactory.system.site import Site, load_site
from imagefactory.system.workspace import Workspace
from imagefactory.targets.kind import Kept
from imagefactory.targets.register import Kinds, Line, called, know, lines

if TYPE_CHECKING:  # what only work needs starts slowly
    from imagefactory.inputs.protocol import Means
    from imagefactory.system.log import Log, Progress
    from imagefactory.system.processes import Stop
    from imagefactory.system.store import Store
    from imagefactory.system.web import Web


@dataclass(frozen=True, slots=True)
class Run:
    """A run of the factory as data: all that a session is made of wherever it does its work.

    ``root`` is the checkout's. ``site`` is the file of the site settings, if there is one: they are read
    where they serve, for they hold passwords. ``lines`` are those of the register of kinds.
    """

    root: Path
    site: Path | None = None
    full: bool = False
    lines: tuple[Line, ...] = ()


@dataclass(frozen=True)
class Session:
    """One's part in a run of the factory: where, with what, who watches, and what ends it. A ``full`` run has
    the long tests too.
    """

    workspace: Workspace
    site: Site
    kinds: Kinds
    progress: Progress
    stop: Stop
    full: bool = False

    @property
    def run(self) -> Run:
        """What others make their session of the same run of."""
        return Run(self.workspace.root, self.site.file, self.full, tuple(lines()))

    @cached_property
    def resolver(self) -> Resolver:
        """What this run knows of images and their targets."""
        return Resolver(self.workspace, self.site, self.kinds)

    @cached_property
    def store(self) -> Store:
        """The store of this site."""
        from imagefactory.system.store import Store

        return Store(self.site.store)

    @cached_property
    def web(self) -> Web:
        """One client for all downloads."""
        from imagefactory.system.web import Web

        return Web(self.site, self.stop)

    def means(
        self, log: Log, scratch: Path, platform: str, on_bytes: Callable[[int], None] = lambda count: None
    ) -> Means:
        """What a kind of input, or of target, works with."""
        from imagefactory.inputs.protocol import Means

        return Means(self.site, self.store, self.web, log, self.stop, scratch, platform, on_bytes)

    def record(self, id: TargetId) -> Record:
        """The record of a target."""
        return record_of(self.workspace, id)

    def home(self, name: str) -> Home:
        """The folder of an image or base image."""
        return home_of(self.workspace, name)

    def last(self, id: TargetId) -> Report | None:
        """The last report of a target."""
        return self.record(id).read()

    def missing(self, target: Target, report: Report) -> str:
        """Why what was kept of a target, or the candidate that failed, can't be used; empty where it can."""
        there = report if report.kept else report.of(report.candidate)
        if there is None:
            return f"{called(target.id)} was not kept"
        return self.kinds.of(target).missing(self.kept(target, there))

    def kept(self, target: Target, report: Report) -> Kept:
        """A target that was made, as others use it."""
        return Kept(report, self.record(target.id), self.kinds.of(target), target)


def session_of(run: Run, progress: Progress, stop: Stop) -> Session:
    """A session of one's own. Raises BadFiles or BadInput where the site settings are bad."""
    know(run.lines)
    workspace = Workspace(run.root)
    site = load_site(workspace, run.site)
    return Session(workspace, site, Kinds(workspace), progress, stop, run.full)
