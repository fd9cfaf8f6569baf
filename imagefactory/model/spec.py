"""What the factory works on: frozen values that no longer know of YAML, the environment or the clock."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NewType

from imagefactory.model.lock import Lock
from imagefactory.model.recipe import (
    BaseImage,
    BuildInputs,
    BuildStage,
    GuiApp,
    Inputs,
    Machine,
    Maintainer,
    Needs,
    Release,
    SmokeTest,
    Source,
    Terms,
    TestData,
    VersionFrom,
    Waiver,
)


@dataclass(frozen=True, slots=True)
class File:
    """A file's path relative to its folder, its mode bits and its bytes."""

    path: str
    mode: int
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class PartStage:
    """A part of an image that has a stage of its own: what runs there, and the folders that images get."""

    name: str
    install: bytes
    files: tuple[File, ...]
    inputs: BuildInputs
    keep: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RecipeFolder:
    """The files of a recipe's folder, and where they stand in the history of the repository.

    ``revision`` is the commit that last changed the folder, with ``-dirty`` behind it when
    uncommitted changes follow; ``epoch`` is that commit's time in seconds since 1970.
    """

    install: bytes
    files: tuple[File, ...]
    tests: tuple[File, ...]
    icons: tuple[File, ...]
    readme: str
    revision: str
    epoch: int


def tag_of(version: str) -> str:
    """A version as a tag of an image, which may hold less."""
    return version.replace("+", "_").replace("~", "_")


@dataclass(frozen=True, slots=True)
class Sibling:
    """Another image of a recipe, that differs in its version and not in its name."""

    id: str
    variant: str
    base: str
    version: str
    version_from: VersionFrom | None


@dataclass(frozen=True, slots=True)
class ImageDefinition:
    """One image to make: a recipe with one of its variants applied.

    ``selector`` is what means it alone on a command line, where its recipe's name means all images.
    ``repository`` is its name before its version, which ``siblings`` of the same recipe may have too.
    ``version`` is empty where it comes from an input that no lock was asked for yet. ``values`` are variables
    of its installation alone, ``parts`` what it has in common with others.
    """

    id: str
    recipe: str
    variant: str
    selector: str
    repository: str
    title: str
    summary: str
    version: str
    version_from: VersionFrom | None
    homepage: str
    licence: str
    terms: Terms
    citation: tuple[str, ...]
    topics: tuple[str, ...]
    tasks: tuple[str, ...]
    keywords: tuple[str, ...]
    edam: tuple[str, ...]
    maintainers: tuple[Maintainer, ...]
    base: str
    inputs: Inputs
    build: BuildStage | None
    environment: Mapping[str, str]
    path: tuple[str, ...]
    home_folders: tuple[str, ...]
    commands: tuple[str, ...]
    gui_apps: tuple[GuiApp, ...]
    needs: Needs
    tests: tuple[SmokeTest, ...]
    waivers: tuple[Waiver, ...]
    folder: RecipeFolder
    values: Mapping[str, str] = field(default_factory=dict)
    parts: tuple[str, ...] = ()
    stages: tuple[PartStage, ...] = ()
    test_data: Mapping[str, TestData] = field(default_factory=dict)
    siblings: tuple[Sibling, ...] = ()

    def data_of_tests(self, *, full: bool) -> dict[str, TestData]:
        """What its tests read, by name; with ``full`` those too that are run only where that is asked for."""
        names = {name for test in self.tests if full or not test.full for name in test.data}
        return {name: data for name, data in self.test_data.items() if name in names}

    @property
    def build_inputs(self) -> BuildInputs | None:
        """What only its stages need, its own and those of its parts; None where it has none."""
        of = [*(stage.inputs for stage in self.stages), *([self.build.inputs] if self.build else [])]
        if len(of) < 2:
            return of[0] if of else None
        apt = dict.fromkeys(package for inputs in of for package in inputs.apt)
        sources = {name: source for inputs in of for name, source in inputs.sources.items()}
        return BuildInputs.model_construct(apt=tuple(apt), sources=sources)

    @property
    def sources(self) -> dict[str, Source]:
        """All its sources."""
        build = self.build_inputs
        return {**self.inputs.sources, **(build.sources if build else {})}

    @property
    def patterns(self) -> tuple[str, ...]:
        """Those of its commands that are patterns: which programs they mean shows when it is built."""
        return tuple(command for command in self.commands if set(command) & set("*?"))

    @property
    def named_commands(self) -> tuple[str, ...]:
        """The other ones."""
        return tuple(command for command in self.commands if not set(command) & set("*?"))


@dataclass(frozen=True, slots=True)
class BaseDefinition:
    """One base image to make, for an OCI ``platform``, dated ``epoch`` (seconds since 1970)."""

    base: BaseImage
    platform: str
    epoch: int

    @property
    def published(self) -> str:
        """The name under which it, or something like it, can be had from a registry."""
        if self.base.upstream:
            return re.sub(r":[^:/@]+@", "@", self.base.upstream)  # Apptainer takes no tag beside a digest
        return self.base.published or ""

    @property
    def upstream(self) -> bool:
        """Whether it is somebody's image: it may have a user of its own, and settings."""
        return self.base.upstream is not None

    @property
    def machine(self) -> Machine | None:
        """What makes it a VM base; None for base images of containers."""
        return self.base.machine

    @property
    def has_accounts(self) -> bool:
        """Whether it, or what is published in its place, may have an account where images have their own."""
        return self.base.distribution != "debian"


def release_of(base: BaseDefinition, lock: Lock | None) -> Release:
    """The release that a base image is of: its definition says it, or for an upstream image its lock."""
    if lock and lock.system:
        return Release(lock.system.distribution, lock.system.suite)
    return base.base.release


@dataclass(frozen=True, slots=True)
class BaseSpec:
    """All that decides what is in a base image."""

    base: BaseDefinition
    lock: Lock

    @property
    def name(self) -> str:
        return self.base.base.name

    @property
    def selector(self) -> str:
        """What means it on a command line."""
        return self.name

    @property
    def title(self) -> str:
        return self.base.base.title

    @property
    def published(self) -> str:
        """As its definition has it."""
        return self.base.published

    @property
    def upstream(self) -> bool:
        """As its definition has it."""
        return self.base.upstream

    @property
    def release(self) -> Release:
        """The release that it is of."""
        return release_of(self.base, self.lock)

    @property
    def has_accounts(self) -> bool:
        """As its definition has it."""
        return self.base.has_accounts

    @property
    def platform(self) -> str:
        return self.base.platform

    @property
    def epoch(self) -> int:
        """Its date, in seconds since 1970; steps of images on it run under that date."""
        return self.base.epoch


@dataclass(frozen=True, slots=True)
class ImageSpec:
    """All that decides what is in an image. The same spec renders to the same bytes.

    ``latest`` says whether it is what its name means without a version.
    """

    image: ImageDefinition
    base: BaseSpec
    lock: Lock
    source: str
    latest: bool = True

    @property
    def name(self) -> str:
        return self.image.id

    @property
    def selector(self) -> str:
        """What means it alone on a command line."""
        return self.image.selector

    @property
    def title(self) -> str:
        return self.image.title

    @property
    def platform(self) -> str:
        return self.base.platform

    @property
    def epoch(self) -> int:
        """The image's date, in seconds since 1970."""
        return max(self.image.folder.epoch, self.base.epoch)


@dataclass(frozen=True, slots=True)
class UnpinnedSpec:
    """An image as it is asked for, on a base image as it is asked for: no lock says what would be in it.

    It can be rendered for people to read, and to build outside the factory. No target can have one.
    """

    image: ImageDefinition
    base: BaseDefinition
    source: str

    @property
    def epoch(self) -> int:
        """The image's date, in seconds since 1970."""
        return max(self.image.folder.epoch, self.base.epoch)


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a build or test run, and how long it took."""

    name: str
    seconds: float
    cached: bool = False


@dataclass(frozen=True, slots=True)
class Artifact:
    """What was made of a target, a candidate until its tests have passed.

    It is a ``path`` (a file or folder of this machine) or has a ``reference`` (a name in an engine), or both.
    ``digest`` is its manifest's where it is an OCI image, else the file's, as ``sha256:…``. ``bytes`` is its
    size as people fetch it. ``commands`` are all those of an image by name, where only the image knows them.
    """

    digest: str
    bytes: int
    steps: tuple[Step, ...] = ()
    path: str = ""
    reference: str = ""
    commands: tuple[str, ...] = ()


TestedArtifact = NewType("TestedArtifact", Artifact)
"""An artifact all of whose tests passed: the only kind that may be kept or published."""
