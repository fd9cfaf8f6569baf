"""The Apptainer backend: what the pipeline calls."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from imagefactory.backends.apptainer import engine
from imagefactory.backends.apptainer.convert import CONVERTER, convert
from imagefactory.backends.apptainer.definition import render_definition
from imagefactory.errors import disk_error
from imagefactory.log import Log
from imagefactory.model.spec import Artifact, File, Format, ImageDefinition, ImageSpec, Step, TestedArtifact
from imagefactory.run import Stop

if TYPE_CHECKING:
    from imagefactory.backends.apptainer.subject import SifSubject


class ApptainerBackend:
    """SIF files, each made from a tested OCI image."""

    format: Format = "sif"
    version = CONVERTER

    def engines(self) -> Mapping[str, str]:
        """Versions of Apptainer (or SingularityCE) and mksquashfs. Raises EngineError."""
        return engine.versions()

    def definition(self, spec: ImageSpec, input_digest: str) -> File:
        """The definition file that builds the image by itself, beside the files of a rendered context."""
        return render_definition(spec, input_digest)

    def make(self, id: str, archive: Path, digest: str, scratch: Path, log: Log, stop: Stop) -> Artifact:
        """A candidate SIF file in ``scratch`` from an OCI archive of the image with that manifest digest.

        Raises BuildFailed; then nothing of it is left.
        """
        start = time.monotonic()
        target = scratch / "candidate.sif"
        log.step("write the SIF file")
        try:
            convert(archive, digest, target, scratch, log, stop)
            with target.open("rb") as file:
                os.fsync(file.fileno())
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            target.chmod(0o755)  # it can be run as it is, where binfmt or run-singularity know it
        except OSError as error:
            raise disk_error(error, target) from None
        step = Step("write the SIF file", round(time.monotonic() - start, 3))
        log.step_done(step)
        return Artifact(id, "sif", str(target), sha256, target.stat().st_size, (step,))

    def subject(self, artifact: Artifact, image: ImageDefinition, scratch: Path, stop: Stop) -> SifSubject:
        """The file as something to run tests on."""
        from imagefactory.backends.apptainer.subject import SifSubject  # spython starts slowly

        nvidia = image.needs.gpu is not None and self.nvidia()
        return SifSubject(Path(artifact.reference), tuple(image.environment), scratch, stop, nvidia)

    def nvidia(self) -> bool:
        """Whether this machine has a GPU of NVIDIA's that answers."""
        return engine.nvidia()

    def keep(
        self,
        artifact: TestedArtifact,
        folder: Path,
        version: str,
        input_digest: str,
        stand_ins: Sequence[str],
    ) -> Path:
        """Give a tested candidate its name in ``folder``, at once; an older file of the same version goes."""
        stem = f"{artifact.id}-{'stand-in' if stand_ins else version}"
        file = folder / f"{stem}-{input_digest[:12]}.sif"
        try:
            Path(artifact.reference).replace(file)
        except OSError as error:
            raise disk_error(error, file) from None
        for old in folder.glob(f"{stem}-{'[0-9a-f]' * 12}.sif"):
            if old != file:
                old.unlink(missing_ok=True)
        return file
