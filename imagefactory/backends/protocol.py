"""What kinds of image can do: be rendered, built or made of another, tested, kept or thrown away."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from imagefactory.inputs import Means
from imagefactory.log import Log
from imagefactory.model.lock import Lock
from imagefactory.model.spec import (
    Artifact,
    BaseDefinition,
    BuildContext,
    BuiltBase,
    File,
    Format,
    ImageDefinition,
    ImageSpec,
    Step,
    TestedArtifact,
)
from imagefactory.run import Stop
from imagefactory.store import Store
from imagefactory.testing.subject import Subject


class Backend(Protocol):
    """The kind that is built from the store: OCI images."""

    format: Format

    def engines(self) -> Mapping[str, str]:
        """Name and version of each engine used. Raises EngineError if one is missing."""

    def render(self, spec: ImageSpec) -> BuildContext:
        """The files of the build. Pure."""

    def make_base(
        self, base: BaseDefinition, lock: Lock, layout: Path, means: Means
    ) -> tuple[BuiltBase, int, tuple[Step, ...]]:
        """Make a base image from locked packages: the image, its bytes, and the steps taken."""

    def ask_base(
        self, base: BuiltBase, files: Mapping[str, bytes], secrets: Mapping[str, bytes], means: Means
    ) -> Path:
        """Run ``ask.sh`` of ``files`` in a base image, with network; a folder with what it answers.

        Raises BuildFailed, or a kind of it.
        """

    def build(
        self, spec: ImageSpec, context: Path, input_digest: str, means: Means, *, cache: bool
    ) -> Artifact:
        """Build a candidate from the store alone. Raises BuildFailed; then nothing of it is left."""

    def debug(self, spec: ImageSpec, context: Path, scratch: Path, store: Store) -> None:
        """Open a shell, on the caller's terminal, where the build of ``context`` breaks."""

    def find(self, reference: str, digest: str) -> bool:
        """Whether the image of that name is still there, with that digest."""

    def subject(
        self, artifact: Artifact, base: BuiltBase, scratch: Path, stop: Stop
    ) -> AbstractContextManager[Subject]:
        """The image as something to run tests on; its containers end with the block."""

    def export(self, reference: str, file: Path) -> None:
        """Write a kept image to ``file``, an OCI archive, for other kinds to be made of."""

    def keep(self, artifact: TestedArtifact, version: str, stand_ins: Sequence[str]) -> Artifact:
        """Give a tested candidate its name; one with stand-ins gets another, that nobody takes for it."""

    def discard(self, artifact: Artifact) -> None:
        """Remove a candidate."""

    def left_behind(self) -> Mapping[str, Iterable[str]]:
        """By image: what a build or test has in the engine now, or left there when it died."""

    def sweep(self, leftovers: Iterable[str]) -> None:
        """Remove what ``left_behind`` named."""


class Converter(Protocol):
    """A kind that is made of a tested OCI image, and is a file. None knows another."""

    format: Format
    version: int  # raised when the same OCI image would give another file

    def engines(self) -> Mapping[str, str]:
        """Name and version of each engine used. Raises EngineError if one is missing."""

    def definition(self, spec: ImageSpec, input_digest: str) -> File:
        """What builds the image by itself, beside the files of a rendered context. Pure."""

    def make(self, id: str, archive: Path, digest: str, scratch: Path, log: Log, stop: Stop) -> Artifact:
        """A candidate in ``scratch``, from an OCI archive of the image with that digest.

        Raises BuildFailed; then nothing of it is left.
        """

    def subject(self, artifact: Artifact, image: ImageDefinition, scratch: Path, stop: Stop) -> Subject:
        """The file as something to run tests on."""

    def nvidia(self) -> bool:
        """Whether this machine has a GPU of NVIDIA's that answers."""

    def keep(
        self,
        artifact: TestedArtifact,
        folder: Path,
        version: str,
        input_digest: str,
        stand_ins: Sequence[str],
    ) -> Path:
        """Give a tested candidate its name in ``folder``."""
