"""A small kind of target that needs no engine, for tests of what walks the graph."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from imagefactory.errors import BuildFailed
from imagefactory.model.lock import Lock
from imagefactory.model.recipe import Needs
from imagefactory.model.report import Report, TestReport
from imagefactory.model.spec import Artifact, BaseDefinition, File, ImageSpec, TestedArtifact
from imagefactory.model.target import Description, Room, Target, TargetId
from imagefactory.system.workspace import Workspace
from imagefactory.targets.kind import Held, Job, Kept, Way
from imagefactory.targets.register import Line
from imagefactory.testing.subject import Call, Mount, Outcome


@dataclass
class Behaviour:
    """What toys do, and what they did: shared by all kinds of one test."""

    makes: Callable[[Job], bytes] = lambda job: b"data"
    fails: dict[str, str] = field(default_factory=dict)  # by target, the reason of a failed test
    rooms: dict[str, Room] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)  # digests of what somebody uses
    entered: list[tuple[str, list[str]]] = field(default_factory=list)
    order: list[str] = field(default_factory=list)
    named_by_version: bool = False
    at_once: int = 0
    most_at_once: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


behaviour = Behaviour()


class Quiet:
    """A subject in which every command ends well."""

    local = True

    def run(self, call: Call) -> Outcome:
        return Outcome(0, "hello, it runs\n", 0.1)

    def labels(self) -> Mapping[str, str]:
        return {}


class Toy:
    """A file that says what it is made of. The first kind needs nothing, the second the first, and so on."""

    name: ClassVar[str] = "toy"
    of: ClassVar[str] = ""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def needs(self, name: str, base: BaseDefinition | None, wants: Needs) -> tuple[TargetId, ...]:
        return (TargetId(self.of, name),) if self.of else ()

    def describe(self, spec: ImageSpec) -> Description:
        return Description({"version": spec.image.version})

    def render(self, target: Target, needs: Mapping[str, Target]) -> tuple[File, ...]:
        return (File(f"{self.name}.txt", 0o644, target.input_digest.encode()),)

    def inputs(self, target: Target) -> Lock | None:
        return None

    def room(self, target: Target, last: Report | None) -> Room:
        return behaviour.rooms.get(str(target.id), Room())

    def engines(self) -> Mapping[str, str]:
        return {self.name: "1.0"}

    def make(self, job: Job) -> Artifact:
        with behaviour.lock:
            behaviour.order.append(str(job.target.id))
            behaviour.at_once += 1
            behaviour.most_at_once = max(behaviour.most_at_once, behaviour.at_once)
        try:
            data = behaviour.makes(job)
        finally:
            with behaviour.lock:
                behaviour.at_once -= 1
        file = job.scratch / "candidate"
        file.write_bytes(data)
        if job.handover:
            job.record.handover.write_bytes(data)
        return Artifact(f"sha256:{data.hex()}", len(data), path=str(file))

    def keep(self, job: Job, artifact: TestedArtifact) -> Artifact:
        assert isinstance(job.target.spec, ImageSpec)
        version = behaviour.named_by_version and f"-{job.target.spec.image.version}"
        file = job.record.shelf / f"{job.target.id.name}{version or ''}.{self.name}"
        Path(artifact.path).replace(file)
        return Artifact(artifact.digest, artifact.bytes, path=str(file))

    def missing(self, kept: Kept) -> str:
        return "" if kept.path.is_file() else "it is gone"

    def verify(self, kept: Kept) -> None:
        pass

    def set_aside(self, job: Job, artifact: Artifact) -> Artifact:
        file = job.record.folder / "failed"
        Path(artifact.path).replace(file)
        return Artifact(artifact.digest, artifact.bytes, path=str(file))

    def discard(self, artifact: Artifact) -> None:
        pass

    def frees(self, held: Held) -> int:
        return held.path.stat().st_size if held.path.is_file() else 0

    def remove(self, held: Held) -> None:
        if held.report.digest in behaviour.used:
            raise BuildFailed("a container uses it")
        held.path.unlink(missing_ok=True)

    def enter(self, job: Job, artifact: Artifact, mounts: tuple[Mount, ...]) -> int:
        behaviour.entered.append((artifact.path, [mount.target for mount in mounts]))
        return 5

    def test_facts(self, spec: Any) -> Sequence[Any]:
        return ()

    @contextlib.contextmanager
    def open(self, job: Job, artifact: Artifact) -> Iterator[Quiet]:
        yield Quiet()

    def ways(self, subject: Quiet) -> Sequence[Way]:
        return (Way(subject),)

    def tests(self, job: Job, subject: Quiet) -> Iterator[TestReport]:
        reason = behaviour.fails.get(str(job.target.id), "")
        status = "failed" if reason else "passed"
        yield TestReport(name="whole", kind="contract", status=status, reason=reason)  # type: ignore[arg-type]


class Second(Toy):
    name = "second"
    of = "toy"


class Third(Toy):
    name = "third"
    of = "second"


LINES = [
    Line("toy", "recipes", "toy", "(toy)", "to play with", f"{__name__}:Toy"),
    Line("second", "recipes", "second toy", "(second)", "to play with", f"{__name__}:Second"),
    Line("third", "recipes", "third toy", "(third)", "to play with", f"{__name__}:Third"),
]
