"""``lock.yaml``: every file that an image is made of, pinned by its sha256.

Files are named by their path within an archive, never by a mirror's host. Sizes are in bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from imagefactory.model.fields import GitCommit, Identifier, Line, RelativePath, Sha256, Strict

Stage = Literal["image", "build", "tools"]
"""Where files are installed: in the image, in its build stage, or in the stages that only install."""


class LockedFile(Strict):
    """One file: ``file`` is its path within the archive that it comes from."""

    name: Line
    version: Line
    file: RelativePath
    bytes: Annotated[int, Field(ge=0)]
    sha256: Sha256

    @property
    def filename(self) -> str:
        """The last part of its path."""
        return self.file.rpartition("/")[2]


class AptFile(LockedFile):
    """A Debian package; ``archive`` is the last part of its archive's address, such as ``debian``."""

    archive: Line


class PipFile(LockedFile):
    """A wheel or a source distribution, of an index of Python packages."""


class CondaFile(LockedFile):
    """A conda package: ``channel`` as the recipe names it, ``file`` with its platform's folder."""

    channel: Line
    build: Line


class SourceFile(LockedFile):
    """An archive as upstream serves it, or the tar archive of a git commit's tree."""

    commit: GitCommit | None = None


class StageLock(Strict):
    """What is installed in one stage."""

    apt: tuple[AptFile, ...] = ()
    pip: tuple[PipFile, ...] = ()
    conda: tuple[CondaFile, ...] = ()
    sources: tuple[SourceFile, ...] = ()

    def files(self) -> Iterator[LockedFile]:
        """All of them."""
        yield from (*self.apt, *self.pip, *self.conda, *self.sources)


class Lock(Strict):
    """All inputs of one image (or base image, which has the stage ``image`` alone) on one platform.

    ``request`` is the digest of what was asked for: another one makes the lock stale.
    """

    request: Sha256
    image: StageLock = StageLock()
    build: StageLock = StageLock()
    tools: StageLock = StageLock()

    def stages(self) -> Iterator[tuple[Stage, StageLock]]:
        """The stages by name."""
        yield "image", self.image
        yield "build", self.build
        yield "tools", self.tools

    def files(self) -> Iterator[LockedFile]:
        """Every file of every stage, each sha256 once."""
        seen: set[str] = set()
        for _, stage in self.stages():
            for file in stage.files():
                if file.sha256 not in seen:
                    seen.add(file.sha256)
                    yield file


class Table(Strict):
    """Every file that a lock file names, each once."""

    apt: tuple[AptFile, ...] = ()
    pip: tuple[PipFile, ...] = ()
    conda: tuple[CondaFile, ...] = ()
    sources: tuple[SourceFile, ...] = ()


class Names(Strict):
    """One stage of a section: the files in it, named as ``name version`` or by their sha256."""

    apt: tuple[Line, ...] = ()
    pip: tuple[Line, ...] = ()
    conda: tuple[Line, ...] = ()
    sources: tuple[Line, ...] = ()


class Section(Strict):
    """The inputs of one image (or base image) for one OCI platform, such as ``linux/amd64``."""

    name: Identifier
    platform: Line
    request: Sha256
    image: Names = Names()
    build: Names = Names()
    tools: Names = Names()


class LockFile(Strict):
    """A whole ``lock.yaml``, or ``base_images/<name>.lock.yaml``."""

    schema_version: Literal[1]
    files: Table = Table()
    locks: tuple[Section, ...] = ()
