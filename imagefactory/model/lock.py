"""``lock.yaml``: every file that an image is made of, pinned by its sha256.

Files are named by their path within an archive, never by a mirror's host. Sizes are in bytes. A commit pins
a source by itself. What only a fetched source can tell stands in ``fetched.yaml``.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from types import MappingProxyType
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field, model_validator

from imagefactory.model.fields import BaseName, GitCommit, Line, Matching, RelativePath, Sha256, Strict
from imagefactory.model.recipe import Distribution

Stage = Literal["image", "build", "tools"]
"""Where files are installed: in the image, in its build stage, or in the stages that only install."""

_NON_FREE = re.compile(r"^pool/(?:updates/)?(?:non-free|non-free-firmware|restricted|multiverse)/")
PACKAGES = ("apt", "pip", "conda")
KINDS = (*PACKAGES, "sources", "blobs")
"""The kinds of inputs: packages have an installer, sources are left to the recipe, and blobs are what an
upstream base image consists of."""


class LockedFile(Strict):
    """One file: ``file`` is its path within the archive that it comes from.

    ``stand_in``: it came from a mirror that serves other content under the real names, for a rehearsal.
    """

    name: Line
    version: Line
    file: RelativePath
    bytes: Annotated[int, Field(ge=0)]
    sha256: Sha256
    stand_in: bool = False

    @property
    def filename(self) -> str:
        """The last part of its path."""
        return self.file.rpartition("/")[2]

    @property
    def pin(self) -> str:
        """What says which content it has: its sha256."""
        return self.sha256


class AptFile(LockedFile):
    """A Debian package; ``archive`` is the last part of its archive's address, such as ``debian``."""

    archive: Line


class PipFile(LockedFile):
    """A wheel or a source distribution. ``index`` is the recipe's name of its index, if it has one."""

    index: str = ""


class CondaFile(LockedFile):
    """A conda package: ``channel`` as the recipe names it, ``file`` with its platform's folder."""

    channel: Line
    build: Line


class SourceFile(LockedFile):
    """An archive as upstream serves it, or a tar archive of the tree of a git ``commit``.

    ``bytes`` is 0, and of a commit ``sha256`` empty, as long as nobody has fetched it. Neither is part of the
    lock: see ``FetchedFile``.
    """

    bytes: Annotated[int, Field(ge=0)] = 0
    sha256: Sha256 | Literal[""] = ""
    commit: GitCommit | None = None

    @model_validator(mode="after")
    def _is_pinned(self) -> Self:
        if not self.pin:
            raise ValueError("a source needs a 'sha256' or a 'commit'")
        return self

    @property
    def pin(self) -> str:
        """Its commit, or else its sha256."""
        return self.commit or self.sha256

    def as_locked(self) -> Self:
        """It as the lock has it: without what only whoever fetches it can tell."""
        return self.model_copy(update={"bytes": 0, "sha256": "" if self.commit else self.sha256})


class BlobFile(LockedFile):
    """A part of an upstream image: its ``manifest``, its ``config``, each ``layer``, and the ``index`` of its
    platforms where it has one. ``file`` is its path in the registry, below the image's name. Or the ``disk``
    that a VM base is, by the name of its file.
    """


FILES: Mapping[str, type[LockedFile]] = MappingProxyType(
    {"apt": AptFile, "pip": PipFile, "conda": CondaFile, "sources": SourceFile, "blobs": BlobFile}
)
"""What a file of each kind is."""


class StageLock(Strict):
    """What is installed in one stage."""

    apt: tuple[AptFile, ...] = ()
    pip: tuple[PipFile, ...] = ()
    conda: tuple[CondaFile, ...] = ()
    sources: tuple[SourceFile, ...] = ()
    blobs: tuple[BlobFile, ...] = ()

    def files(self) -> Iterator[tuple[str, LockedFile]]:
        """All of them, each with its kind."""
        for kind in KINDS:
            yield from ((kind, file) for file in getattr(self, kind))


class HeldPackage(Strict):
    """A Debian package that an upstream image holds, as its dpkg has it."""

    name: Line
    version: Line


class System(Strict):
    """What an upstream image is: the release that it is made of, and its packages."""

    distribution: Distribution
    suite: Line
    packages: tuple[HeldPackage, ...] = ()


# What only base images have is in no digest of an image's lock.
_NOT_OF_IMAGES: Any = {"request": True, "system": True, **{stage: {"blobs"} for stage in get_args(Stage)}}


class Lock(Strict):
    """All inputs of one image on one platform, or of a base image. That has the stage ``image``; a VM base
    has in ``tools`` what is laid into it in another way than by installing it.

    ``request`` is the digest of what was asked for: another one makes the lock stale. ``system`` is that of
    an upstream base image.
    """

    request: Sha256
    system: System | None = None
    image: StageLock = StageLock.model_construct()
    build: StageLock = StageLock.model_construct()
    tools: StageLock = StageLock.model_construct()

    def stages(self) -> Iterator[tuple[Stage, StageLock]]:
        """The stages by name."""
        yield "image", self.image
        yield "build", self.build
        yield "tools", self.tools

    def files(self) -> Iterator[tuple[str, LockedFile]]:
        """Every file of every stage with its kind, each sha256 once."""
        seen: set[str] = set()
        for _, stage in self.stages():
            for kind, file in stage.files():
                if file.pin not in seen:
                    seen.add(file.pin)
                    yield kind, file

    @property
    def size(self) -> int:
        """The bytes of all files, as far as they are known."""
        return sum(file.bytes for _, file in self.files())

    def with_sources(self, change: Callable[[SourceFile], SourceFile]) -> Lock:
        """The same lock with every source changed so."""
        if not any(files.sources for _, files in self.stages()):
            return self
        stages: dict[str, Any] = {
            name: files.model_copy(update={"sources": tuple(map(change, files.sources))})
            for name, files in self.stages()
        }
        # A copy would keep what was computed of this one.
        return Lock.model_construct(request=self.request, system=self.system, **stages)

    @property
    def non_free(self) -> tuple[str, ...]:
        """The Debian packages, each with its version, of components that not everybody may pass on."""
        files = [file for _, file in self.files() if isinstance(file, AptFile)]
        return tuple(sorted(f"{each.name} {each.version}" for each in files if _NON_FREE.match(each.file)))

    @property
    def system_packages(self) -> dict[str, str]:
        """The version of each Debian package that a base image holds, whichever way it is made."""
        held = self.system.packages if self.system else ()
        return {
            **{file.name: file.version for file in self.image.apt},
            **{package.name: package.version for package in held},
        }

    @cached_property
    def stand_ins(self) -> tuple[str, ...]:
        """The names of inputs that are not the true software."""
        return tuple(dict.fromkeys(file.name for _, file in self.files() if file.stand_in))

    @cached_property
    def content_digest(self) -> str:
        """sha256 over every file with all that is locked of it, whatever was asked for."""
        locked = self.with_sources(SourceFile.as_locked)
        return hashlib.sha256(locked.model_dump_json(exclude=_NOT_OF_IMAGES).encode()).hexdigest()

    @cached_property
    def digest(self) -> str:
        """sha256 over the content of every file that it pins."""
        pinned = [f"{stage} {kind} {f.pin}" for stage, files in self.stages() for kind, f in files.files()]
        return hashlib.sha256("\n".join(pinned).encode()).hexdigest()


UsedBy = Annotated[
    tuple[
        Annotated[
            str,
            Matching(
                r"^[a-z0-9]+([-.][a-z0-9]+)*(/(build|tools))?$",
                "an image, or one with its stage as app/build",
            ),
        ],
        ...,
    ],
    Field(min_length=1),
]


class AptRow(AptFile):
    """A Debian package, and the images (and stages of them) that it is for."""

    used_by: UsedBy


class PipRow(PipFile):
    """A Python package, and what it is for."""

    used_by: UsedBy


class CondaRow(CondaFile):
    """A conda package, and what it is for."""

    used_by: UsedBy


class SourceRow(SourceFile):
    """A source, and what it is for."""

    used_by: UsedBy


class BlobRow(BlobFile):
    """A part of an upstream image, and the base image that it is for."""

    used_by: UsedBy


class HeldRow(HeldPackage):
    """A package that an upstream image holds, and the base image that this is."""

    used_by: UsedBy


class LockedImage(Strict):
    """An image (or base image) that is locked, for one OCI platform, such as ``linux/amd64``.

    ``distribution`` and ``suite`` are those of an upstream base image.
    """

    name: BaseName
    platform: Line
    request: Sha256
    distribution: Distribution | None = None
    suite: Line | None = None


class LockFile(Strict):
    """A whole ``lock.yaml``, or ``base_images/<name>.lock.yaml``: each file once, with what it is for."""

    schema_version: Literal[1]
    images: tuple[LockedImage, ...] = ()
    apt: tuple[AptRow, ...] = ()
    pip: tuple[PipRow, ...] = ()
    conda: tuple[CondaRow, ...] = ()
    sources: tuple[SourceRow, ...] = ()
    blobs: tuple[BlobRow, ...] = ()
    held: tuple[HeldRow, ...] = ()


class FetchedFile(Strict):
    """What only a fetched source can tell: its size in bytes, and of a ``commit`` its archive's sha256."""

    commit: GitCommit | None = None
    bytes: Annotated[int, Field(ge=0)]
    sha256: Sha256

    @property
    def pin(self) -> str:
        """Its commit, or else its sha256, as the lock has it."""
        return self.commit or self.sha256


class FetchedFiles(Strict):
    """A whole ``fetched.yaml``, beside a recipe's ``lock.yaml``. No image depends on it."""

    schema_version: Literal[1]
    sources: tuple[FetchedFile, ...] = ()
