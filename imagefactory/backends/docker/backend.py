"""The Docker backend: what the pipeline calls."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from imagefactory.backends.common.content import INPUT_DIGEST_LABEL
from imagefactory.backends.docker import base as bases
from imagefactory.backends.docker import buildx
from imagefactory.backends.docker.ask import ask_base
from imagefactory.backends.docker.render import render
from imagefactory.backends.docker.stage import stage_inputs
from imagefactory.errors import BuildFailed, EngineError
from imagefactory.inputs import Means, mmdebstrap_version
from imagefactory.model.lock import Lock
from imagefactory.model.spec import (
    Artifact,
    BaseDefinition,
    BuildContext,
    BuiltBase,
    Format,
    ImageSpec,
    Step,
    TestedArtifact,
)
from imagefactory.records import remove_tree
from imagefactory.run import Stop
from imagefactory.store import Store

if TYPE_CHECKING:
    from imagefactory.backends.docker.engine import Engine
    from imagefactory.backends.docker.subject import DockerSubject

REPOSITORY = "imagefactory"


class DockerBackend:
    """OCI images. ``owner`` tells this checkout's leftovers from another's."""

    format: Format = "oci"

    def __init__(self, owner: str) -> None:
        self._owner = owner

    @functools.cached_property
    def _engine(self) -> Engine:
        from imagefactory.backends.docker.engine import Engine  # the SDK starts slowly

        return Engine(self._owner)

    def engines(self) -> Mapping[str, str]:
        """Versions of Docker, buildx and mmdebstrap. Raises EngineError."""
        return {**self._engine.versions(), "mmdebstrap": mmdebstrap_version()}

    def render(self, spec: ImageSpec) -> BuildContext:
        """The Dockerfile and the files beside it."""
        return render(spec)

    def make_base(
        self, base: BaseDefinition, lock: Lock, layout: Path, means: Means
    ) -> tuple[BuiltBase, int, tuple[Step, ...]]:
        """Make a base image from locked packages."""
        return bases.make_base(base, lock, layout, means)

    def ask_base(
        self, base: BuiltBase, files: Mapping[str, bytes], secrets: Mapping[str, bytes], means: Means
    ) -> Path:
        """Run ``ask.sh`` of ``files`` in a base image, with network; a folder with what it answers."""
        return ask_base(base, files, secrets, means)

    def build(
        self, spec: ImageSpec, context: Path, input_digest: str, means: Means, *, cache: bool
    ) -> Artifact:
        """Build a candidate and load it into the engine. Raises BuildFailed; then nothing is left."""
        name = self._engine.candidate(spec.image.id, input_digest)
        archive = means.scratch / "image.tar"
        sources = stage_inputs(spec, means.scratch / "sources", means.store)
        steps = buildx.build(
            _request(spec, context, name, archive, sources, cache=cache), means.log, means.stop
        )
        remove_tree(sources)
        self._engine.load(archive)
        archive.unlink()
        facts = self._engine.image(name)
        if facts is None:
            raise EngineError(f"{spec.image.id}: the Docker Engine did not keep the built image")
        labels = facts["Config"].get("Labels") or {}
        if labels.get(INPUT_DIGEST_LABEL) != input_digest:
            self._engine.untag(name)
            raise BuildFailed(f"{spec.image.id}: the built image carries another input digest")
        return Artifact(spec.image.id, "oci", name, facts["Id"], int(facts["Size"]), steps)

    def debug(self, spec: ImageSpec, context: Path, scratch: Path, store: Store) -> None:
        """Open a shell, on the caller's terminal, where the build of ``context`` breaks."""
        sources = stage_inputs(spec, scratch / "sources", store)
        buildx.debug(_request(spec, context, "debug", Path("unused"), sources, cache=True))

    def find(self, reference: str, digest: str) -> bool:
        """Whether the engine has the image of that name with that digest."""
        facts = self._engine.image(reference) if reference else None
        return facts is not None and facts["Id"] == digest

    @contextlib.contextmanager
    def subject(
        self, artifact: Artifact, base: BuiltBase, scratch: Path, stop: Stop
    ) -> Iterator[DockerSubject]:
        """The image as something to run tests on."""
        from imagefactory.backends.docker.subject import DockerSubject

        subject = DockerSubject(self._engine, artifact, base, scratch, stop)
        try:
            yield subject
        finally:
            subject.close()

    def export(self, reference: str, file: Path) -> None:
        """Write a kept image to ``file``, an OCI archive."""
        self._engine.save(reference, file)

    def keep(self, artifact: TestedArtifact, version: str, stand_ins: Sequence[str]) -> Artifact:
        """Name the image ``imagefactory/<id>`` with its version and ``latest``; one that holds stand-ins gets
        the tag ``stand-in`` alone.
        """
        repository = f"{REPOSITORY}/{artifact.id}"
        tag = version.replace("+", "_").replace("~", "_")  # what a tag may hold is less than a version
        names = ("stand-in",) if stand_ins else (tag, "latest")
        for name in names:
            self._engine.tag(artifact.reference, repository, name)
        self.discard(artifact)
        return dataclasses.replace(artifact, reference=f"{repository}:{names[0]}")

    def discard(self, artifact: Artifact) -> None:
        """Take the candidate's name away; the image goes unless it was kept."""
        if artifact.reference.startswith(f"{REPOSITORY}/candidate:"):
            self._engine.untag(artifact.reference)

    def left_behind(self) -> Mapping[str, Iterable[str]]:
        """By image: containers and candidates that a build or test has now, or left there."""
        return self._engine.left_behind()

    def sweep(self, leftovers: Iterable[str]) -> None:
        """Remove what ``left_behind`` named."""
        self._engine.remove(leftovers)


def _request(
    spec: ImageSpec, context: Path, name: str, archive: Path, sources: Path, *, cache: bool
) -> buildx.Request:
    base = spec.base
    return buildx.Request(
        context=context,
        name=name,
        epoch=spec.epoch,
        target=archive,
        platform=spec.platform,
        arguments={"BASE": base.reference, "BASE_DIGEST": base.digest},
        layouts={base.reference: base.layout},
        folders={"sources": sources},
        cache=cache,
    )
