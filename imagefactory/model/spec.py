"""What the factory works on: frozen values that no longer know of YAML, the environment or the clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NewType

from imagefactory.model.lock import Lock
from imagefactory.model.recipe import (
    BaseImage,
    BuildStage,
    Inputs,
    Maintainer,
    Needs,
    SmokeTest,
    Terms,
    Waiver,
)


@dataclass(frozen=True, slots=True)
class File:
    """A file's path relative to its folder, its mode bits and its bytes."""

    path: str
    mode: int
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class RecipeFolder:
    """The files of a recipe's folder, and where they stand in the history of the repository.

    ``revision`` is the commit that last changed the folder, with ``-dirty`` behind it when
    uncommitted changes follow; ``epoch`` is that commit's time in seconds since 1970.
    """

    install: bytes
    files: tuple[File, ...]
    tests: tuple[File, ...]
    revision: str
    epoch: int


@dataclass(frozen=True, slots=True)
class ImageDefinition:
    """One image to make: a recipe with one of its variants applied."""

    id: str
    recipe: str
    variant: str
    title: str
    summary: str
    version: str
    homepage: str
    licence: str
    terms: Terms
    citation: tuple[str, ...]
    maintainers: tuple[Maintainer, ...]
    base: str
    inputs: Inputs
    build: BuildStage | None
    environment: Mapping[str, str]
    path: tuple[str, ...]
    home_folders: tuple[str, ...]
    commands: tuple[str, ...]
    needs: Needs
    tests: tuple[SmokeTest, ...]
    waivers: tuple[Waiver, ...]
    folder: RecipeFolder


@dataclass(frozen=True, slots=True)
class BaseDefinition:
    """One base image to make, for an OCI ``platform``, dated ``epoch`` (seconds since 1970)."""

    base: BaseImage
    platform: str
    epoch: int


@dataclass(frozen=True, slots=True)
class BaseSpec:
    """All that decides what is in a base image."""

    base: BaseDefinition
    lock: Lock

    @property
    def name(self) -> str:
        return self.base.base.name

    @property
    def title(self) -> str:
        return self.base.base.title

    @property
    def published(self) -> str:
        """The name under which something like it can be had from a registry."""
        return self.base.base.published

    @property
    def platform(self) -> str:
        return self.base.platform

    @property
    def epoch(self) -> int:
        """Its date, in seconds since 1970; steps of images on it run under that date."""
        return self.base.epoch


@dataclass(frozen=True, slots=True)
class ImageSpec:
    """All that decides what is in an image. The same spec renders to the same bytes."""

    image: ImageDefinition
    base: BaseSpec
    lock: Lock
    source: str

    @property
    def name(self) -> str:
        return self.image.id

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
    size as people fetch it.
    """

    digest: str
    bytes: int
    steps: tuple[Step, ...] = ()
    path: str = ""
    reference: str = ""


TestedArtifact = NewType("TestedArtifact", Artifact)
"""An artifact all of whose tests passed: the only kind that may be kept or published."""
