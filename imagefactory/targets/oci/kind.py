"""OCI images: what the graph knows of them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from imagefactory.errors import BadInput, BuildFailed, EngineError
from imagefactory.model.lock import Lock
from imagefactory.model.recipe import Needs
from imagefactory.model.report import Report, TestReport
from imagefactory.model.spec import (
    Artifact,
    BaseDefinition,
    File,
    ImageSpec,
    TestedArtifact,
    UnpinnedSpec,
    tag_of,
)
from imagefactory.model.target import Description, Room, Target, TargetId
from imagefactory.system.files import remove_tree, write_files
from imagefactory.system.templates import fill
from imagefactory.targets.common.content import INPUT_DIGEST_LABEL
from imagefactory.targets.common.layouts import share_layers
from imagefactory.targets.common.with_engine import WithEngine
from imagefactory.targets.kind import Held, Job, Kept, Launch, Way
from imagefactory.targets.oci.render import describe, render, render_unpinned
from imagefactory.testing.subject import Call, Mount

if TYPE_CHECKING:
    from imagefactory.targets.common.buildx import Request
    from imagefactory.targets.oci.subject import OciSubject

CONTRACT = 1
"""Raised when a contract test is added or made stricter, so that images are tested again."""
REPOSITORY = "imagefactory"
_BASE = "base"
# Measured on images of packages: unpacked they take some three times the bytes that they are fetched as.
_UNPACKED = 3


class OciKind(WithEngine):
    """OCI images, each built on a base image and kept in the Docker Engine."""

    name: ClassVar[str] = "oci"

    def needs(self, name: str, base: BaseDefinition | None, wants: Needs) -> tuple[TargetId, ...]:
        """Its base image."""
        assert base
        return (TargetId(_BASE, base.base.name),)

    def describe(self, spec: ImageSpec) -> Description:
        """The recipe, the locked inputs, and the rendered files."""
        return describe(spec)

    def test_facts(self, spec: ImageSpec) -> Sequence[Any]:
        """The contract."""
        return (CONTRACT,)

    def render(self, target: Target, needs: Mapping[str, Target]) -> tuple[File, ...]:
        """The Dockerfile and the files beside it."""
        return render(target)

    def render_unpinned(self, spec: UnpinnedSpec) -> tuple[File, ...]:
        """The Dockerfile and the files beside it, of the request alone."""
        return render_unpinned(spec)

    def inputs(self, target: Target) -> Lock | None:
        """Everything that is locked."""
        return target.spec.lock

    def memory(self, target: Target) -> int:
        """What its application needs."""
        assert isinstance(target.spec, ImageSpec)
        return target.spec.image.needs.memory

    def room(self, target: Target, last: Report | None) -> Room:
        """Disk for its archive here, and for its inputs and layers in the engine, where they stay."""
        inputs, engine = target.spec.lock.size, self._engine.folder
        size = max(inputs, last.bytes if last else 0)
        # As it is built, which a last build has left in the cache, and as it is run.
        copies = 1 if last else 2
        places = {str(self._workspace.build): size + inputs, engine: copies * _UNPACKED * size}
        # The cache gives way to what needs its place, and the last image to this one.
        stays = {} if last else {engine: _UNPACKED * size}
        return Room(memory=self.memory(target), disk=places, stays=stays)

    def engines(self) -> Mapping[str, str]:
        """Versions of Docker and buildx. Raises EngineError."""
        return self._engine.versions()

    def make(self, job: Job) -> Artifact:
        """Build a candidate from the store alone and load it into the engine.

        Raises BuildFailed; then nothing is left in the engine. Its layout stays in the scratch folder.
        """
        from imagefactory.targets.common import buildx  # as other rooms that only work enters

        target = job.target
        assert isinstance(target.spec, ImageSpec)
        name = self._engine.candidate(target.id.name, target.input_digest)
        base, layout = job.needs[_BASE], job.scratch / "layout"
        request = _request(job, name, layout)
        shared = frozenset[str]() if request.gzip else share_layers(base.path, base.report.digest, layout)
        steps = buildx.build(request, job.log, job.stop)
        remove_tree(job.scratch / "sources")
        facts = self._engine.load(layout, name, shared)
        if facts is None:
            raise EngineError(f"{target.id.name}: the Docker Engine did not keep the built image")
        labels = facts["Config"].get("Labels") or {}
        if labels.get(INPUT_DIGEST_LABEL) != target.input_digest:
            self._engine.untag(name)
            raise BuildFailed(f"{target.id.name}: the built image carries another input digest")
        commands = _commands(layout) if target.spec.image.patterns else ()
        return Artifact(facts["Id"], int(facts["Size"]), steps, str(layout), name, commands)

    def debug(self, job: Job) -> None:
        """Open a shell, on the caller's terminal, where the build breaks."""
        from imagefactory.targets.common import buildx

        buildx.debug(_request(job, "debug", job.scratch / "unused"))

    @contextlib.contextmanager
    def open(self, job: Job, artifact: Artifact) -> Iterator[OciSubject]:
        """The image as something to run tests on; its containers end with the block."""
        from imagefactory.targets.oci.subject import OciSubject, Origin

        base = job.needs.get(_BASE)
        origin = Origin(
            layout=base.path if base else None,
            digest=base.report.digest if base else "",
            image=Path(artifact.path) if artifact.path else None,
        )
        subject = OciSubject(
            self._engine, job.target.id.name, artifact.reference, origin, job.scratch, job.stop
        )
        try:
            yield subject
        finally:
            subject.close()

    def ways(self, subject: OciSubject) -> Sequence[Way]:
        """The usual one alone."""
        return (Way(subject),)

    def tests(self, job: Job, subject: OciSubject) -> Iterator[TestReport]:
        """The contract that every image keeps."""
        from imagefactory.targets.oci.contract import contract_tests

        spec = job.target.spec
        assert isinstance(spec, ImageSpec)
        of_base = spec.base.lock.system_packages.keys()
        return contract_tests(subject, spec.image, of_base, job.scratch)

    def keep(self, job: Job, artifact: TestedArtifact) -> Artifact:
        """Name the image ``imagefactory/<name>`` with its version, and ``latest`` where its name alone means
        it; one that holds stand-ins is ``imagefactory/<id>:stand-in`` and nothing else.
        """
        spec = job.target.spec
        assert isinstance(spec, ImageSpec)
        repository, tag = _name_of(spec)
        self._engine.tag(artifact.reference, repository, tag)
        if spec.latest and not spec.lock.stand_ins:
            self._engine.tag(artifact.reference, repository, "latest")
        self.discard(artifact)
        if job.handover and artifact.path:
            remove_tree(job.record.handover)
            Path(artifact.path).replace(job.record.handover)
        return Artifact(artifact.digest, artifact.bytes, artifact.steps, reference=f"{repository}:{tag}")

    def missing(self, kept: Kept) -> str:
        """Whether the engine has the image of that name with that digest. Where several images have one name,
        that name alone must mean the right one.
        """
        spec = kept.target.spec
        assert isinstance(spec, ImageSpec)
        names = [kept.report.reference]
        if spec.latest and spec.image.siblings and not spec.lock.stand_ins:
            names.append(f"{_name_of(spec)[0]}:latest")
        for name in names:
            facts = self._engine.image(name) if name else None
            if facts is None or facts["Id"] != kept.report.digest:
                return f"the engine no longer has it as {name}"
        return ""

    def verify(self, kept: Kept) -> None:
        """The engine keeps images by their digests. Raises BadInput where it has none."""
        if self.missing(kept):
            raise BadInput(
                f"the Docker Engine no longer has {kept.report.reference}",
                hint=f"run imagefactory build {kept.target.spec.selector}",
            )

    def export(self, kept: Kept, file: Path) -> None:
        """Write it to ``file``, an OCI archive, for other kinds to be made of."""
        self._engine.save(kept.report.reference, file)

    def launch(self, kept: Kept, values: Mapping[str, Any]) -> Launch:
        """Run it in Docker."""
        script = fill(__package__, "launcher.sh.j2", {**values, "reference": kept.report.reference})
        return Launch(script, frozenset({"docker"}))

    def set_aside(self, job: Job, artifact: Artifact) -> Artifact:
        """Name it ``imagefactory/failed``, with a tag that tells this checkout and the image."""
        repository, tag = self._engine.failed(job.target.id.name)
        self._engine.tag(artifact.reference, repository, tag)
        return Artifact(artifact.digest, artifact.bytes, artifact.steps, reference=f"{repository}:{tag}")

    def discard(self, artifact: Artifact) -> None:
        """Take the candidate's name away; the image goes unless it was kept."""
        if artifact.reference.startswith((f"{REPOSITORY}/candidate:", f"{REPOSITORY}/failed:")):
            self._engine.untag(artifact.reference)

    def frees(self, held: Held) -> int:
        """The bytes of its layers that no other image has."""
        return self._engine.frees(held.report.reference)

    def remove(self, held: Held) -> None:
        """Take away its names; the layers that no other image has go with the last one."""
        reference = held.report.reference
        facts = self._engine.image(reference)
        if facts is None or facts["Id"] != held.report.digest:
            return
        repository = reference.rpartition(":")[0]
        self._engine.give_up([name for name in facts["RepoTags"] if name.rpartition(":")[0] == repository])

    def enter(self, job: Job, artifact: Artifact, mounts: tuple[Mount, ...]) -> int:
        """A shell in a container like that of a test."""
        with self.open(job, artifact) as subject:
            return subject.enter(Call(command=("/bin/bash",), mounts=mounts))

    def left_behind(self) -> Mapping[str, Iterable[str]]:
        """By image: containers and candidates that a build or test has now, or left there."""
        return self._engine.left_behind()

    def sweep(self, leftovers: Iterable[str]) -> None:
        """Remove what ``left_behind`` named."""
        self._engine.remove(leftovers)


def _commands(layout: Path) -> tuple[str, ...]:
    """Which programs an image's commands are, as it says itself."""
    from imagefactory.targets.common.archive import OciArchive

    with OciArchive(layout) as image:
        return tuple((image.read("etc/imagefactory/commands") or b"").decode().split())


def _name_of(spec: ImageSpec) -> tuple[str, str]:
    """Its name in the engine, and its tag."""
    if spec.lock.stand_ins:
        return f"{REPOSITORY}/{spec.name}", "stand-in"
    return f"{REPOSITORY}/{spec.image.repository}", tag_of(spec.image.version)


def _request(job: Job, name: str, layout: Path) -> Request:
    """The build, its files and its inputs laid out in the scratch folder."""
    from imagefactory.targets.common import buildx
    from imagefactory.targets.oci.stage import stage_inputs

    spec, base = job.target.spec, job.needs[_BASE]
    assert isinstance(spec, ImageSpec)
    reference = buildx.base_reference(base.report.id, base.report.digest)
    return buildx.Request(
        context=write_files(job.scratch / "context", render(job.target)),
        name=name,
        epoch=spec.epoch,
        target=layout,
        platform=spec.platform,
        arguments={"BASE": reference, "BASE_DIGEST": base.report.digest},
        layouts={reference: str(base.path)},
        folders={"sources": stage_inputs(spec, job.scratch / "sources", job.means.store)},
        cache=job.cache,
        gzip=_needs_gzip(base),
    )


def _needs_gzip(base: Kept) -> bool:
    """Whether the base image has layers that cannot be read here, as upstream images may: Python knows zstd
    since 3.14 only.
    """
    manifest = base.path / "blobs" / base.report.digest.replace(":", "/")
    kinds = (str(layer["mediaType"]) for layer in json.loads(manifest.read_bytes())["layers"])
    return any(kind.endswith("zstd") for kind in kinds)
