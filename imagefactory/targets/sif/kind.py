"""SIF files: what the graph knows of them."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from imagefactory.errors import disk_error
from imagefactory.model.lock import Lock
from imagefactory.model.recipe import Needs
from imagefactory.model.report import Report, TestReport
from imagefactory.model.spec import (
    Artifact,
    BaseDefinition,
    File,
    ImageSpec,
    Step,
    TestedArtifact,
    UnpinnedSpec,
)
from imagefactory.model.target import Description, Room, Target, TargetId
from imagefactory.system.templates import fill
from imagefactory.system.workspace import Workspace
from imagefactory.targets.common.as_file import AsFile, moved, stem_of
from imagefactory.targets.kind import Job, Kept, Launch, Way
from imagefactory.targets.sif import engine
from imagefactory.testing.subject import Call, Mount

if TYPE_CHECKING:
    from imagefactory.targets.sif.subject import SifSubject

CONVERTER = 1
"""Raised when the same OCI image would give another SIF file."""
CLUSTER = 2
"""Raised when a test is added or made stricter, so that SIF files are tested again."""
_IMAGE = "oci"
_STEP = "write the SIF file"


class SifKind(AsFile):
    """SIF files, each made of a tested OCI image."""

    name: ClassVar[str] = "sif"

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def needs(self, name: str, base: BaseDefinition | None, wants: Needs) -> tuple[TargetId, ...]:
        """The OCI image."""
        return (TargetId(_IMAGE, name),)

    def describe(self, spec: ImageSpec) -> Description:
        """How such files are made: everything else follows from the OCI image."""
        return Description({"converter": CONVERTER})

    def test_facts(self, spec: ImageSpec) -> Sequence[Any]:
        """The contract, and what is tested of it."""
        return (CLUSTER, spec.image.needs.mpi, spec.image.needs.gpu is not None)

    def render(self, target: Target, needs: Mapping[str, Target]) -> tuple[File, ...]:
        """The definition file, which uses the files that are rendered for the OCI image."""
        from imagefactory.targets.sif.definition import render_definition

        assert isinstance(target.spec, ImageSpec)
        return (render_definition(target.spec, needs[_IMAGE].input_digest),)

    def render_unpinned(self, spec: UnpinnedSpec) -> tuple[File, ...]:
        """The definition file, of the request alone."""
        from imagefactory.targets.sif.definition import render_definition

        return (render_definition(spec, None),)

    def inputs(self, target: Target) -> Lock | None:
        """None: the OCI image has them."""
        return None

    def room(self, target: Target, last: Report | None) -> Room:
        """Disk for the file and an archive of the image, whose layers are about as large."""
        assert isinstance(target.spec, ImageSpec)
        size = last.bytes if last else sum(file.bytes for _, file in target.spec.lock.files())
        return Room(
            cores=os.cpu_count() or 1,  # mksquashfs keeps all of them busy
            memory=target.spec.image.needs.memory,
            disk={str(self._workspace.build): 2 * size},
        )

    def engines(self) -> Mapping[str, str]:
        """Versions of Apptainer (or SingularityCE) and mksquashfs. Raises EngineError."""
        return engine.versions()

    def make(self, job: Job) -> Artifact:
        """A candidate in the scratch folder. Raises BuildFailed; then nothing of it is left."""
        from imagefactory.targets.sif.convert import Source, convert

        start = time.monotonic()
        assert isinstance(job.target.spec, ImageSpec)
        ours, image = job.target.spec.image, job.needs[_IMAGE]
        archive = image.archive(job.scratch / "image.tar")
        source = Source(
            ours.repository, image.report.digest, archive, ours.folder.readme, image.report.commands
        )
        candidate = job.scratch / "candidate.sif"
        job.log.step(_STEP)
        try:
            convert(source, candidate, job.scratch, job.log, job.stop)
            with candidate.open("rb") as file:
                os.fsync(file.fileno())
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            candidate.chmod(0o755)  # it can be run as it is, where binfmt or run-singularity know it
        except OSError as error:
            raise disk_error(error, candidate) from None
        step = Step(_STEP, round(time.monotonic() - start, 3))
        job.log.step_done(step)
        commands = image.report.commands
        return Artifact(
            f"sha256:{sha256}", candidate.stat().st_size, (step,), str(candidate), commands=commands
        )

    @contextlib.contextmanager
    def open(self, job: Job, artifact: Artifact) -> Iterator[SifSubject]:
        """The file as something to run tests on; what runs ends with each command."""
        from imagefactory.targets.sif.subject import SifSubject  # spython starts slowly

        assert isinstance(job.target.spec, ImageSpec)
        image = job.target.spec.image
        nvidia = image.needs.gpu is not None and engine.nvidia()
        yield SifSubject(Path(artifact.path), tuple(image.environment), job.scratch, job.stop, nvidia)

    def ways(self, subject: SifSubject) -> Sequence[Way]:
        """With nothing shut out, and with everything shut out that Apptainer can."""
        from imagefactory.targets.sif.cluster import CONTAINED

        return (
            Way(subject),
            Way(subject.given(CONTAINED), "contained", " ".join(CONTAINED)),
        )

    def tests(self, job: Job, subject: SifSubject) -> Iterator[TestReport]:
        """What every SIF file keeps on a cluster."""
        from imagefactory.targets.sif.cluster import cluster_tests

        assert isinstance(job.target.spec, ImageSpec)
        return cluster_tests(subject, job.target.spec.image, job.scratch)

    def keep(self, job: Job, artifact: TestedArtifact) -> Artifact:
        """Give the file its name, at once.

        The digest in its name is the OCI image's input digest, which stands in its labels too.
        """
        spec, folder = job.target.spec, job.record.shelf
        assert isinstance(spec, ImageSpec)
        file = folder / f"{stem_of(spec)}-{job.needs[_IMAGE].report.input_digest[:12]}.sif"
        return moved(artifact, file)

    def launch(self, kept: Kept, values: Mapping[str, Any]) -> Launch:
        """Run it with Apptainer or SingularityCE, from beside the launchers."""
        script = fill(__package__, "launcher.sh.j2", {**values, "sif": kept.path.name})
        return Launch(script, frozenset({"apptainer", "singularity"}), kept.path)

    def set_aside(self, job: Job, artifact: Artifact) -> Artifact:
        """Move it to a place where no pattern takes it for a good one."""
        file = job.record.folder / "failed.sif"
        return moved(artifact, file)

    def enter(self, job: Job, artifact: Artifact, mounts: tuple[Mount, ...]) -> int:
        """A shell in namespaces like those of a test."""
        with self.open(job, artifact) as subject:
            return subject.enter(Call(command=("/bin/bash",), mounts=mounts))
