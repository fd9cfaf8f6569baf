"""Base images: what every image is built on, made of a distribution's packages or taken from a registry."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from imagefactory.errors import BuildFailed
from imagefactory.model.lock import Lock
from imagefactory.model.recipe import Needs
from imagefactory.model.report import Report
from imagefactory.model.spec import Artifact, BaseDefinition, BaseSpec, File, TestedArtifact
from imagefactory.model.target import Description, Room, Target, TargetId
from imagefactory.system.files import remove_tree, size_of
from imagefactory.targets.common.with_engine import WithEngine
from imagefactory.targets.kind import Held, Job, Kept

if TYPE_CHECKING:
    from imagefactory.inputs.protocol import Means
    from imagefactory.sandbox import Relay

RENDERER = 3
"""Raised when the same file would be made into another base image."""
TAKER = 1
"""The same for upstream images."""
LAYOUT = "layout"
_TIMES_ITS_PACKAGES = 15  # the disk that a root tree takes, as itself, as an archive and as a layer
_TIMES_IN_MEMORY = 6
_MEMORY = 512 << 20


class BaseKind(WithEngine):
    """Base images, each an OCI image layout."""

    name: ClassVar[str] = "base"

    def needs(self, name: str, base: BaseDefinition | None, wants: Needs) -> tuple[TargetId, ...]:
        """Nothing."""
        return ()

    def describe(self, spec: BaseSpec) -> Description:
        """Its file, its date, its platform, its packages, and how bases are made."""
        left_out = (
            {"name", "vm", "like", "components", "machine", "distribution", "suite", "packages", "published"}
            if spec.upstream
            else {"name", "vm", "like", "components", "machine", "upstream"}
        )
        return Description(
            {
                **spec.base.base.model_dump(mode="json", by_alias=True, exclude=left_out),
                "apt packages": spec.lock.system_packages,
                "inputs": spec.lock.digest,
                "platform": spec.platform,
                "date": spec.epoch,
                "renderer": TAKER if spec.upstream else RENDERER,
            }
        )

    def render(self, target: Target, needs: Mapping[str, Target]) -> tuple[File, ...]:
        """None: elsewhere the published image of its distribution takes its place."""
        return ()

    def inputs(self, target: Target) -> Lock | None:
        """Its packages, or the parts of the image that it is."""
        return target.spec.lock

    def memory(self, target: Target) -> int:
        """A sandbox's files are in memory: the packages, and the tree that they become."""
        assert isinstance(target.spec, BaseSpec)
        return _MEMORY + (0 if target.spec.upstream else _TIMES_IN_MEMORY * target.spec.lock.size)

    def room(self, target: Target, last: Report | None) -> Room:
        """Disk for its root tree, or for the parts of an upstream image; the last one's stay beside them."""
        assert isinstance(target.spec, BaseSpec)
        inputs, build = target.spec.lock.size, str(self._workspace.build)
        times = 1 if target.spec.upstream else _TIMES_ITS_PACKAGES
        return Room(memory=self.memory(target), disk={build: times * inputs}, stays={build: inputs})

    def engines(self) -> Mapping[str, str]:
        """Versions of Docker, buildx, mmdebstrap and bubblewrap. Raises EngineError."""
        from imagefactory.inputs.debian import mmdebstrap_version
        from imagefactory.sandbox import sandbox_version

        ours = {"mmdebstrap": mmdebstrap_version(), "bubblewrap": sandbox_version()}
        return {**self._engine.versions(), **ours}

    def make(self, job: Job) -> Artifact:
        """An OCI layout in the scratch folder. Raises BuildFailed, or a kind of it."""
        assert isinstance(job.target.spec, BaseSpec)
        return _make(job.target.spec, job.scratch / LAYOUT, job.means)

    def keep(self, job: Job, artifact: TestedArtifact) -> Artifact:
        """Have it take the last one's place, whose blobs stay there, for builds that read them now."""
        from imagefactory.targets.base.bootstrap import put_layout

        layout = job.record.shelf / LAYOUT
        put_layout(Path(artifact.path), layout)
        return Artifact(artifact.digest, artifact.bytes, artifact.steps, path=str(layout))

    def missing(self, kept: Kept) -> str:
        """Whether its manifest is there."""
        return "" if _blob(kept.path, kept.report.digest).is_file() else "it is gone"

    def verify(self, kept: Kept) -> None:
        """Read every blob of it again. Raises BuildFailed."""
        self.carried(kept)

    def carried(self, kept: Kept) -> list[Path]:
        """Its layout, without the blobs of the one before. Raises BuildFailed."""
        from imagefactory.targets.base.layout import layout_files

        report = kept.report
        try:
            if report.file != LAYOUT:
                raise ValueError(f"it stands at {report.file!a}")
            return layout_files(kept.path, report.digest, report.bytes)
        except ValueError as error:
            raise BuildFailed(
                f"{kept.record.shelf / LAYOUT} is damaged: {error}",
                hint=f"remove the folder, then run imagefactory build {report.id}",
            ) from None

    def discard(self, artifact: Artifact) -> None:
        """A candidate goes with the scratch folder."""

    def frees(self, held: Held) -> int:
        """The size of its layout."""
        return size_of(held.path)

    def remove(self, held: Held) -> None:
        """Remove its layout."""
        remove_tree(held.path)

    def ask(self, kept: Kept, files: Mapping[str, bytes], relay: Relay, means: Means) -> Mapping[str, bytes]:
        """Run ``ask.sh`` of ``files`` in it, with what the relay leads to; the files that it answers."""
        from imagefactory.targets.base.ask import Layout, ask_base

        asked = Layout(kept.report.id, kept.path, kept.report.digest, kept.target.spec.epoch)
        return ask_base(asked, files, relay, means)

    def ask_draft(self, spec: BaseSpec, files: Mapping[str, bytes], means: Means) -> Mapping[str, bytes]:
        """The same in what would be made of a specification, without network."""
        from imagefactory.targets.base.ask import Layout, ask_base

        artifact = _make(spec, means.scratch / LAYOUT, means)
        asked = Layout(spec.name, Path(artifact.path), artifact.digest, spec.epoch)
        return ask_base(asked, files, None, means)


def _make(spec: BaseSpec, layout: Path, means: Means) -> Artifact:
    """One of the two ways of making a base image, entered only to work there."""
    if spec.upstream:
        from imagefactory.targets.base.upstream import take_upstream

        return take_upstream(spec, layout, means)
    from imagefactory.targets.base.bootstrap import make_base

    return make_base(spec, layout, means)


def _blob(layout: Path, digest: str) -> Path:
    return layout / "blobs" / digest.replace(":", "/")
