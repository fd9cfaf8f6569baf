"""The tests of one target: the recipe's own, in all ways that its kind knows, then its kind's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from imagefactory.drive.test_data import fetch_data, lay_out
from imagefactory.model.recipe import SmokeTest
from imagefactory.model.report import ExpectationReport, MemoryReport, TestReport
from imagefactory.model.spec import Artifact, ImageSpec
from imagefactory.system.files import write_files
from imagefactory.system.redact import redact, redacted
from imagefactory.targets.kind import Job, Kept, Kind, Tested, Way
from imagefactory.targets.register import line
from imagefactory.testing.compare import difference
from imagefactory.testing.smoke import failed, full_test, not_true, smoke_test
from imagefactory.testing.subject import MemoryBounded, Mount, Subject

TESTS_AT = "/tests"


@dataclass(frozen=True, slots=True)
class Trial:
    """The tests of one target, and how their memory was bounded, where that depends on the machine."""

    tests: tuple[TestReport, ...] = ()
    memory: MemoryReport | None = None


def run_tests(kind: Kind, job: Job, artifact: Artifact) -> Trial:
    """Test what was made; no reports for a kind that others test."""
    if not isinstance(kind, Tested):
        return Trial()
    job.log.phase("testing")
    with kind.open(job, artifact) as subject:
        memory = subject.memory if isinstance(subject, MemoryBounded) else None
        if memory and not memory.together:
            job.log.phase(f"testing: memory is {memory.how}")
        reports = list(_smoke_tests(job, kind.ways(subject)))
        for report in map(_without_secrets, kind.tests(job, subject)):
            job.log.test_done(report)
            reports.append(report)
    return Trial(tuple(reports), memory)


def have_data(kind: Kind, job: Job) -> None:
    """Have the store hold what the tests read that will be run. Raises BuildFailed, or a kind of it."""
    spec = job.target.spec
    # Of stand-ins nothing is tested that would read them.
    if isinstance(kind, Tested) and isinstance(spec, ImageSpec) and not spec.lock.stand_ins:
        fetch_data(spec.image, job.means, full=job.full)


def tests_of(job: Job) -> tuple[Mount, ...]:
    """The recipe's tests as an image sees them, a copy that anyone may read, whatever the modes here; and the
    data that they read.
    """
    spec = job.target.spec
    assert isinstance(spec, ImageSpec)
    tests = Mount(write_files(job.scratch / "tests", spec.image.folder.tests), TESTS_AT)
    if spec.lock.stand_ins:
        return (tests,)
    return (tests, *lay_out(spec.image, job.scratch / "data", job.means.store, full=job.full))


def _smoke_tests(job: Job, ways: Sequence[Way]) -> Iterator[TestReport]:
    spec = job.target.spec
    assert isinstance(spec, ImageSpec)
    mounts = tests_of(job)
    for test in spec.image.tests:
        for way in ways:
            if test.full and not job.full:
                yield full_test(test, way.options)
                continue
            job.log.step(f"test {test.name}")
            said = {"options": way.options, "full": test.full}
            report = _smoke_test(job, test, way, mounts).model_copy(update=said)
            job.log.test_done(report)
            yield report


def _smoke_test(job: Job, test: SmokeTest, way: Way, mounts: tuple[Mount, ...]) -> TestReport:
    stand_ins = job.target.spec.lock.stand_ins
    if stand_ins:
        return not_true(test, stand_ins)
    report, text = _tried(way.subject, test, mounts)
    job.record.write_output(test.name, text, way.name)
    if report.status == "passed":
        said = [_compared(job, kept, test, mounts, text) for kept in _others(job)]
        differs = tuple(ExpectationReport(what=what, fine=False) for what in said if what)
        if differs:
            return failed(report, test, text, differs)
    return report


def _tried(subject: Subject, test: SmokeTest, mounts: tuple[Mount, ...]) -> tuple[TestReport, str]:
    report, text = smoke_test(subject, test, mounts)
    return _without_secrets(report), redact(text)


def _without_secrets(report: TestReport) -> TestReport:
    """What an image wrote may hold one, and its report is kept and shown."""
    return TestReport.model_validate(redacted(report.model_dump()))


def _others(job: Job) -> list[Kept]:
    """What this is made of and was tested with the same tests: both must say the same."""
    return [
        kept
        for kept in job.needs.values()
        if isinstance(kept.kind, Tested) and kept.target.id.name == job.target.id.name
    ]


def _compared(job: Job, other: Kept, test: SmokeTest, mounts: tuple[Mount, ...], text: str) -> str:
    """What a test wrote otherwise than in what this is made of."""

    def again() -> str:
        assert isinstance(other.kind, Tested)
        theirs = replace(job, target=other.target, needs={}, record=other.record)
        with other.kind.open(theirs, other.artifact()) as subject:
            return _tried(subject, test, mounts)[1]

    kept = other.record.read_output(test.name)
    expected = again() if kept is None else kept
    where = line(other.target.id.kind).title
    reason = difference(expected, text, again, test.varies, f"the {where}")
    return f"differs from the {where}: {reason}" if reason else ""
