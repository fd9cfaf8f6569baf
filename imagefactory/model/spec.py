"""What the factory works on: frozen values that no longer know of YAML, the environment or the clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NewType

from imagefactory.model.lock import Lock
from imagefactory.model.recipe import (
    BaseImage,
    BuildStage,
    Inputs,
    Maintainer,
    Needs,
    SmokeTest,
    Terms,
)

Format = Literal["oci", "sif"]


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
    folder: RecipeFolder


@dataclass(frozen=True, slots=True)
class BaseDefinition:
    """One base image to make, for an OCI ``platform``, dated ``epoch`` (seconds since 1970)."""

    base: BaseImage
    platform: str
    epoch: int


@dataclass(frozen=True, slots=True)
class BuiltBase:
    """A base image that exists: ``layout`` is an OCI image layout, ``digest`` its manifest's.

    ``epoch`` is its date, in seconds since 1970; steps of images on it run under that date.
    """

    name: str
    digest: str
    layout: str
    published: str
    epoch: int

    @property
    def reference(self) -> str:
        """The name by digest under which builds know it."""
        return f"imagefactory/{self.name}@{self.digest}"


@dataclass(frozen=True, slots=True)
class ImageSpec:
    """All that decides what is in an image. The same spec renders to the same bytes."""

    image: ImageDefinition
    base: BuiltBase
    lock: Lock
    base_lock: Lock
    platform: str
    epoch: int
    source: str


@dataclass(frozen=True, slots=True)
class BuildContext:
    """The rendered files of one build, and the digest of all that went into it."""

    files: tuple[File, ...]
    input_digest: str
    ingredients: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a build or test run, and how long it took."""

    name: str
    seconds: float
    cached: bool = False


@dataclass(frozen=True, slots=True)
class Artifact:
    """A built image: ``reference`` finds it in its engine, ``digest`` is its manifest's."""

    id: str
    format: Format
    reference: str
    digest: str
    bytes: int
    steps: tuple[Step, ...]


TestedArtifact = NewType("TestedArtifact", Artifact)
"""An artifact all of whose tests passed: the only kind that may be kept or published."""
