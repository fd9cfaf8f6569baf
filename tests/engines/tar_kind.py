"""A kind of target that the factory does not have: the image's root tree as a plain tar archive, run in a
chroot. It stands outside the package, and knows of it what any kind may know.
"""

from __future__ import annotations

import contextlib
import hashlib
import tarfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from imagefactory.model.lock import Lock
from imagefactory.model.recipe import Needs
from imagefactory.model.report import Report, TestReport
from imagefactory.model.spec import Artifact, BaseDefinition, File, ImageSpec, Step, TestedArtifact
from imagefactory.model.target import Description, Room, Target, TargetId
from imagefactory.system.files import make_folder
from imagefactory.system.processes import Stop, stream
from imagefactory.system.store import file_sha256
from imagefactory.system.workspace import Workspace
from imagefactory.targets.common.archive import OciArchive
from imagefactory.targets.common.merge import write_merged
from imagefactory.targets.kind import Held, Job, Kept, Way
from imagefactory.targets.register import Line
from imagefactory.testing.subject import Call, Outcome

LINE = Line("tar", "recipes", "tar archive", "(tar)", "for anybody", f"{__name__}:TarKind")


class Tree:
    """An unpacked root tree, in which commands run without network."""

    local = True

    def __init__(self, root: Path, stop: Stop) -> None:
        self._root = root
        self._stop = stop

    def run(self, call: Call) -> Outcome:
        work = self._root / "work"
        make_folder(work)
        lines: list[str] = []
        mounts = []
        for mount in call.mounts:
            place = self._root / mount.target.strip("/")
            make_folder(place)
            mounts.append(f'mount --bind "{mount.source}" "{place}"')
        script = " && ".join([*mounts, 'exec chroot "$ROOT" /bin/sh /etc/imagefactory/entrypoint.sh "$@"'])
        start = time.monotonic()
        status = stream(
            ["unshare", "--map-root-user", "--mount", "--net", "sh", "-c", script, "sh", *call.command],
            lines.append,
            stop=self._stop,
            environment={"ROOT": str(self._root), **call.environment},
        )
        return Outcome(status, "\n".join(lines), time.monotonic() - start)

    def labels(self) -> Mapping[str, str]:
        return {}


class TarKind:
    """Root trees, each made of an OCI image. While one is tested, a file says so, as an engine would."""

    name: ClassVar[str] = "tar"

    def __init__(self, workspace: Workspace) -> None:
        self._running = workspace.build / "running-tars"

    def needs(self, name: str, base: BaseDefinition | None, wants: Needs) -> tuple[TargetId, ...]:
        return (TargetId("oci", name),)

    def describe(self, spec: ImageSpec) -> Description:
        return Description({"format": "pax"})

    def render(self, target: Target, needs: Mapping[str, Target]) -> tuple[File, ...]:
        return ()

    def inputs(self, target: Target) -> Lock | None:
        return None

    def room(self, target: Target, last: Report | None) -> Room:
        return Room()

    def engines(self) -> Mapping[str, str]:
        return {"chroot": "any"}

    def make(self, job: Job) -> Artifact:
        start = time.monotonic()
        job.log.step("write the tree")
        file = job.scratch / "tree.tar"
        with OciArchive(job.needs["oci"].archive(job.scratch / "image.tar")) as image, file.open("wb") as out:
            write_merged(image, out, (), lambda path: path.startswith("dev/"), job.scratch)
        step = Step("write the tree", time.monotonic() - start)
        job.log.step_done(step)
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        return Artifact(f"sha256:{digest}", file.stat().st_size, (step,), path=str(file))

    def keep(self, job: Job, artifact: TestedArtifact) -> Artifact:
        file = job.record.shelf / f"{job.target.id.name}.tar"
        Path(artifact.path).replace(file)
        return Artifact(artifact.digest, artifact.bytes, artifact.steps, path=str(file))

    def missing(self, kept: Kept) -> str:
        return "" if kept.path.is_file() else f"{kept.report.file} is gone"

    def verify(self, kept: Kept) -> None:
        assert f"sha256:{file_sha256(kept.path)}" == kept.report.digest

    def set_aside(self, job: Job, artifact: Artifact) -> Artifact:
        file = job.record.folder / "failed.tar"
        Path(artifact.path).replace(file)
        return Artifact(artifact.digest, artifact.bytes, path=str(file))

    def discard(self, artifact: Artifact) -> None:
        pass

    def frees(self, held: Held) -> int:
        return held.path.stat().st_size if held.path.is_file() else 0

    def remove(self, held: Held) -> None:
        held.path.unlink(missing_ok=True)

    def test_facts(self, spec: ImageSpec) -> Sequence[Any]:
        return (1,)

    @contextlib.contextmanager
    def open(self, job: Job, artifact: Artifact) -> Iterator[Tree]:
        make_folder(self._running)
        mark = self._running / job.target.id.name
        mark.touch()
        root = job.scratch / "root"
        try:
            with tarfile.open(artifact.path) as tree:
                tree.extractall(root, filter="tar")
            yield Tree(root, job.stop)
        finally:
            mark.unlink()

    def ways(self, subject: Tree) -> Sequence[Way]:
        return (Way(subject),)

    def tests(self, job: Job, subject: Tree) -> Iterator[TestReport]:
        outcome = subject.run(Call(command=("test", "-d", "/etc/imagefactory")))
        status = "failed" if outcome.status else "passed"
        yield TestReport(name="is-ours", kind="contract", status=status)  # type: ignore[arg-type]

    def left_behind(self) -> Mapping[str, Iterable[str]]:
        return {file.name: [str(file)] for file in self._running.glob("*")}

    def sweep(self, leftovers: Iterable[str]) -> None:
        for name in leftovers:
            Path(name).unlink()
