"""What a kind of target can do. Outside a kind's own room nothing else is known of it.

The register (``register.py``) has a line for each kind; whatever walks, shows or keeps targets asks there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

from imagefactory.model.lock import Lock
from imagefactory.model.recipe import Needs
from imagefactory.model.report import Report, TestReport
from imagefactory.model.spec import Artifact, BaseDefinition, BaseSpec, File, TestedArtifact, UnpinnedSpec
from imagefactory.model.target import Description, Room, Target, TargetId

if TYPE_CHECKING:  # what only work needs starts slowly
    from imagefactory.inputs.protocol import Means
    from imagefactory.sandbox import Relay
    from imagefactory.system.log import Log
    from imagefactory.system.processes import Stop
    from imagefactory.system.records import Record
    from imagefactory.testing.subject import Mount, Subject


@dataclass(frozen=True, slots=True)
class Way:
    """A way of running tests: ``name`` is short, ``options`` are the engine's words for it."""

    subject: Subject
    name: str = ""
    options: str = ""


@dataclass(frozen=True, slots=True)
class Held:
    """What a report says is there, in an engine or as a file or folder, whatever its recipe is now."""

    report: Report
    record: Record

    @property
    def path(self) -> Path:
        """The file or folder that it is; meaningless where it is only in an engine."""
        return self.record.shelf / self.report.file


def raw_of(held: Held) -> Path | None:
    """The raw disk beside what is held; None where nobody asked for it."""
    return held.record.shelf / held.report.raw.file if held.report.raw else None


@dataclass(frozen=True, slots=True)
class Kept(Held):
    """A target that was made and kept: its report, and its record, beside which ``report.file`` stands."""

    kind: Kind
    target: Target

    def archive(self, file: Path) -> Path:
        """An archive of it, or the folder of one, to make others of: what making it left, or one that is
        written to ``file``. Raises BuildFailed, or a kind of it.
        """
        if self.record.handover.exists():
            return self.record.handover
        assert isinstance(self.kind, Exported)
        self.kind.export(self, file)
        return file

    def artifact(self) -> Artifact:
        """It as an artifact, to be opened for tests."""
        report = self.report
        path = str(self.path) if report.file else ""
        return Artifact(report.digest, report.bytes, path=path, reference=report.reference)


@dataclass(frozen=True)
class Job:
    """One target to be made or tested, and what for it there is.

    ``needs`` holds by kind what it is made of. With ``cache`` earlier builds may serve. With ``handover``
    others will be made of it in this run. With ``full`` its long tests are run too.
    """

    target: Target
    needs: Mapping[str, Kept]
    record: Record
    means: Means
    cache: bool = True
    handover: bool = False
    full: bool = False

    @property
    def scratch(self) -> Path:
        """A folder that is gone when the job ends."""
        return self.means.scratch

    @property
    def log(self) -> Log:
        return self.means.log

    @property
    def stop(self) -> Stop:
        return self.means.stop


class Kind(Protocol):
    """One kind of target."""

    name: ClassVar[str]

    def needs(self, name: str, base: BaseDefinition | None, wants: Needs) -> tuple[TargetId, ...]:
        """What the target of the image ``name``, or of the base image of that name, is made of; ``base`` is
        the image's base image, ``wants`` what the image needs of a machine.

        Raises BadInput where that has nothing that it can be made of.
        """

    def describe(self, spec: Any) -> Description:
        """What decides what a target of this kind is, apart from what it needs. Pure."""

    def render(self, target: Target, needs: Mapping[str, Target]) -> tuple[File, ...]:
        """The files that build it without the factory; none where nothing can. Pure."""

    def inputs(self, target: Target) -> Lock | None:
        """What of the store it is made of; None for a kind that takes nothing from there. Pure."""

    def memory(self, target: Target) -> int:
        """How many bytes of memory making and testing it takes. Pure."""

    def room(self, target: Target, last: Report | None) -> Room:
        """All that making and testing it takes; ``last`` is the report of the one before."""

    def engines(self) -> Mapping[str, str]:
        """Name and version of each engine used. Raises EngineError if one is missing."""

    def make(self, job: Job) -> Artifact:
        """Make a candidate. Raises BuildFailed, or a kind of it; then nothing of it is left."""

    def keep(self, job: Job, artifact: TestedArtifact) -> Artifact:
        """Give a tested candidate its name. What had it before goes."""

    def missing(self, kept: Kept) -> str:
        """Why what was kept can't be used, in words, such as "it is gone"; empty where it can. Fast."""

    def verify(self, kept: Kept) -> None:
        """Raises BuildFailed where what was kept is not what was tested. Reads all of it."""

    def discard(self, artifact: Artifact) -> None:
        """Remove a candidate, unless it was kept."""

    def frees(self, held: Held) -> int:
        """How many bytes of disk go with it; 0 where it is not there."""

    def remove(self, held: Held) -> None:
        """Take it away, with all its names, if it is still what its report says.

        Raises BuildFailed where somebody uses it.
        """


@runtime_checkable
class Tested(Protocol):
    """A kind whose targets are tested."""

    def test_facts(self, spec: Any) -> Sequence[Any]:
        """What decides the outcome of its tests, apart from the target itself. Plain values. Pure."""

    def open(self, job: Job, artifact: Artifact) -> AbstractContextManager[Subject]:
        """It as something to run tests on; whatever runs it ends with the block."""

    def tests(self, job: Job, subject: Any) -> Iterator[TestReport]:
        """Run what every target of this kind is tested for, beside the recipe's own tests.

        ``subject`` is what ``open`` gave.
        """

    def set_aside(self, job: Job, artifact: Artifact) -> Artifact:
        """Give a candidate that failed its tests a name that nobody takes for a good one. What had it before
        goes.
        """

    def ways(self, subject: Any) -> Sequence[Way]:
        """The ways in which the recipe's own tests are run; the usual one first, which has no name."""


@runtime_checkable
class RenderedUnpinned(Protocol):
    """A kind whose targets can be built outside the factory of a request alone, without a lock."""

    def render_unpinned(self, spec: UnpinnedSpec) -> tuple[File, ...]:
        """The files of such a build. Pure. The factory builds nothing of them: no target has such a spec."""


@runtime_checkable
class Swept(Protocol):
    """A kind that may leave something in an engine when it is killed."""

    def left_behind(self) -> Mapping[str, Iterable[str]]:
        """By image: what a build or test has in an engine now, or left there when it died."""

    def sweep(self, leftovers: Iterable[str]) -> None:
        """Remove what ``left_behind`` named."""


@runtime_checkable
class Carried(Protocol):
    """A kind of files that are carried to other machines, where they are not made again."""

    def carried(self, kept: Kept) -> list[Path]:
        """The files that what was kept consists of, all of them read and fitting to its report.

        Raises BuildFailed where they are not. What the report and the files say may be anybody's word.
        """


@dataclass(frozen=True, slots=True)
class MachineFacts:
    """What a machine that boots from a disk is: its VM ``base``, the digest of the container in it, and the
    memory that it needs, in MiB.
    """

    base: str
    container_digest: str
    memory_mib: int


@runtime_checkable
class Machines(Protocol):
    """A kind of disks that machines boot from, such as those of a cloud."""

    def machine(self, kept: Kept) -> MachineFacts:
        """What a cloud is told of it."""


@runtime_checkable
class Disks(Protocol):
    """A kind of compressed disks, which some clouds want as they are when they are not."""

    def write_raw(self, job: Job, kept: Kept) -> Artifact:
        """Write what was kept as a raw disk beside it. Raises BuildFailed, or a kind of it."""


@runtime_checkable
class Asked(Protocol):
    """A kind of base image that answers what installing something on it would bring."""

    def ask(self, kept: Kept, files: Mapping[str, bytes], relay: Relay, means: Means) -> Mapping[str, bytes]:
        """Run ``ask.sh`` of ``files`` in it, with what the relay leads to; the files that it answers, by
        name.

        Raises BuildFailed, or a kind of it.
        """

    def ask_draft(self, spec: BaseSpec, files: Mapping[str, bytes], means: Means) -> Mapping[str, bytes]:
        """The same in what would be made of a specification, without network."""


@runtime_checkable
class Exported(Protocol):
    """A kind that others are made of."""

    def export(self, kept: Kept, file: Path) -> None:
        """Write what was kept to ``file``, an archive."""


@runtime_checkable
class Entered(Protocol):
    """A kind that a person can look around in."""

    def enter(self, job: Job, artifact: Artifact, mounts: tuple[Mount, ...]) -> int:
        """Open a shell in it, on the caller's terminal, as a test's command starts; its exit status."""


@runtime_checkable
class Debugged(Protocol):
    """A kind whose builds can be looked into where they break."""

    def debug(self, job: Job) -> None:
        """Open a shell, on the caller's terminal, where making the target breaks."""


@dataclass(frozen=True, slots=True)
class Launch:
    """How launchers start a tested image: the ``script`` that follows what all launchers have in common.

    ``engines`` are commands that no launcher may be called; ``file`` is copied beside the launchers.
    """

    script: str
    engines: frozenset[str]
    file: Path | None = None


@runtime_checkable
class Packed(Protocol):
    """A kind whose rendered files build it without the factory of one more file, which takes an engine to
    make.
    """

    def pack(self, job: Job, file: Path) -> None:
        """Write it to ``file``, which is not there, of what the job's target is made of. Raises BuildFailed,
        or a kind of it; half of it may be left then.
        """


@runtime_checkable
class Launched(Protocol):
    """A kind that researchers run through launchers."""

    def launch(self, kept: Kept, values: Mapping[str, Any]) -> Launch:
        """How; ``values`` are what launchers' templates are filled with."""
