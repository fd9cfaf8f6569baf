"""A worker gets an order for one target and answers with a result. Both can be sent: what it works with, it
makes itself of what the order says (see ``crew``), and it shares the checkout's files alone with who orders.
"""

from __future__ import annotations

import contextlib
import shlex
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from imagefactory.drive.fetching import ensure_fetched
from imagefactory.drive.freeing import give_up
from imagefactory.drive.guard import guarded
from imagefactory.drive.licences import accepted
from imagefactory.drive.result import Result, now
from imagefactory.drive.session import Run, Session
from imagefactory.drive.trial import Trial, have_data, run_tests
from imagefactory.errors import BadInput, BuildFailed, TestsFailed
from imagefactory.model.report import HeldReport, NeedReport, Report, StepReport, TestReport
from imagefactory.model.spec import Artifact, ImageSpec, TestedArtifact
from imagefactory.model.target import Target, TargetId
from imagefactory.plan import judge_one
from imagefactory.plan.judge import Action
from imagefactory.system.log import Log
from imagefactory.targets.kind import Job, Kept, Kind, Tested
from imagefactory.targets.register import called, shown


@dataclass(frozen=True)
class Order:
    """In a run, ``target`` is to be made, or tested as it is, for ``reasons``, and ``needs`` are what it is
    made of.

    Not ``forced``, it is left alone if it turns out that somebody did it meanwhile. ``cache`` says whether
    earlier builds may serve, ``handover`` whether others are made of it afterwards.
    """

    run: Run
    target: Target
    needs: tuple[Target, ...]
    action: Action
    reasons: tuple[str, ...]
    forced: bool = False
    cache: bool = True
    handover: bool = False


def carry_out(order: Order, session: Session) -> Result:
    """Make and test a target, or test it. A failure is a result too."""
    id, record = order.target.id, session.record(order.target.id)
    # Nobody makes anew meanwhile what this one is compared with.
    reads = [session.record(need.id) for need in order.needs if need.id.name == id.name]

    def work() -> Result:
        now = order if order.forced else _looked_at_again(order, session)
        if now.action == "nothing":  # somebody else did it meanwhile
            return Result(id.name, "nothing", 0.0, now.reasons, record.read(), kind=id.kind)
        return _made(now, session) if now.action == "build" else _tested(now, session)

    failed = Result(id.name, "failed", 0.0, kind=id.kind)
    return guarded(session, shown(id), record, work, failed, reads=reads)


def _looked_at_again(order: Order, session: Session) -> Order:
    graph = {each.id: each for each in (*order.needs, order.target)}
    verdict = judge_one(order.target, graph, session.last, session.missing, full=session.full)
    return replace(order, action=verdict.action, reasons=verdict.reasons)


def _made(order: Order, session: Session) -> Result:
    target, record = order.target, session.record(order.target.id)
    kind, name = session.kinds.of(target), shown(target.id)
    inputs = kind.inputs(target)
    if inputs is not None:
        fetched, lock = ensure_fetched(session, target.id.name, target.spec, inputs)
        if fetched.error:
            raise fetched.error
        order = replace(order, target=replace(target, spec=replace(target.spec, lock=lock)))
    start = time.monotonic()
    engines = dict(kind.engines())
    with (
        contextlib.closing(Log(name, record.log_file, session.progress)) as log,
        record.scratch_folder() as scratch,
    ):
        log.phase(f"building: {', '.join(order.reasons)}")
        job = job_of(order, session, log, scratch)
        have_data(kind, job)  # an hour's build is no use where what tests it can't be had
        artifact, before = kind.make(job), record.read()
        try:
            trial = run_tests(kind, job, artifact)
            report = _report(job, session, artifact, trial, engines, time.monotonic() - start)
            report = _named(kind, job, artifact, report, before)
            record.write(report)
        finally:
            kind.discard(artifact)
        give_up(session, kind, log, record, before, report)
    return _finished(session, target, "build", order.reasons, report, time.monotonic() - start)


def _tested(order: Order, session: Session) -> Result:
    target, record = order.target, session.record(order.target.id)
    kind, name = session.kinds.of(target), shown(target.id)
    old = record.read()
    reason = "it was never made here" if old is None else session.missing(target, old)
    there = (old if old.kept else old.of(old.candidate)) if old else None
    if old is None or there is None or reason:
        raise BadInput(
            f"{name} can't be tested: {reason}", hint=f"run imagefactory build {target.spec.selector}"
        )
    start = time.monotonic()
    kind.engines()
    kept = session.kept(target, there)
    kind.verify(kept)
    what = "again" if old.kept else "the candidate that failed"
    changed = "" if old.input_digest == target.input_digest else ", as it was made before the last change"
    with (
        contextlib.closing(Log(name, record.log_file, session.progress)) as log,
        record.scratch_folder() as scratch,
    ):
        log.phase(f"testing {what}{changed}: {', '.join(order.reasons)}")
        job = job_of(order, session, log, scratch)
        have_data(kind, job)
        trial = run_tests(kind, job, kept.artifact())
        tests = _with_earlier(trial.tests, old, target)
        # A test that could not run is owed: the old digest has the next build ask for it again.
        owed = any(test.status == "not-run" and not test.full for test in tests)
        report = old.model_copy(
            update={
                "status": _status(tests),
                "tests": tuple(tests),
                "memory": trial.memory,
                "tests_digest": old.tests_digest if owed else target.tests_digest,
            }
        )
        if report.status == "passed" and not old.kept and not changed:  # only its tests were at fault
            report = _named(kind, job, kept.artifact(), report, old)
        record.write(report, made=False)
        give_up(session, kind, log, record, old, report)
    return _finished(session, target, "test", order.reasons, report, time.monotonic() - start)


def _with_earlier(tests: Sequence[TestReport], old: Report, target: Target) -> list[TestReport]:
    """Of full tests that were not asked for now, what they said before of the same."""
    if old.tests_digest != target.tests_digest:
        return list(tests)
    before = {(test.name, test.options): test for test in old.tests if test.full}
    skipped = [test.full and test.status == "not-run" for test in tests]
    return [
        before.get((test.name, test.options), test) if skip else test
        for test, skip in zip(tests, skipped, strict=True)
    ]


def _named(kind: Kind, job: Job, artifact: Artifact, report: Report, before: Report | None) -> Report:
    """Give a candidate its name, or where its tests failed one that nobody takes for a good one; the report
    with both.
    """
    if report.status == "passed":
        kept = kind.keep(job, TestedArtifact(artifact))
        named = {**_place(job, kept), "candidate": None, "earlier": _not_replaced(report, before)}
        return report.model_copy(update=named)
    assert isinstance(kind, Tested)
    held = HeldReport(
        **_place(job, kind.set_aside(job, artifact)), digest=artifact.digest, bytes=artifact.bytes
    )
    return report.model_copy(update={"candidate": held, "earlier": _not_replaced(report, before)})


def _not_replaced(report: Report, before: Report | None) -> HeldReport | None:
    """What passed before, and stays: this one did not pass, or is a rehearsal of it."""
    rehearsed = report.stand_ins and before and not before.stand_ins
    if before is None or (report.status == "passed" and not rehearsed):
        return before.earlier if before and report.stand_ins else None
    good = [each for each in before.held() if each != before.candidate]
    return good[0] if good else None


def _place(job: Job, artifact: Artifact) -> dict[str, str]:
    """Where it is, as reports say it."""
    file = str(Path(artifact.path).relative_to(job.record.shelf)) if artifact.path else ""
    return {"reference": artifact.reference, "file": file}


def job_of(order: Order, session: Session, log: Log, scratch: Path) -> Job:
    """An order, with all that carrying it out needs. Raises BuildFailed where nothing can be made of it."""
    target = order.target
    return Job(
        target=target,
        needs={need.id.kind: kept for need in order.needs if (kept := _kept(order, need, session))},
        record=session.record(target.id),
        means=session.means(log, scratch, target.spec.platform),
        cache=order.cache,
        handover=order.handover,
        full=session.full,
    )


def _kept(order: Order, need: Target, session: Session) -> Kept | None:
    """What the target is made of, as it was kept.

    To be made, it takes what is current; to be tested, what it was made of, if that is there still. Raises
    BuildFailed where nothing can be made of it.
    """
    report = session.last(need.id)
    fits = report is not None and report.status == "passed" and _fits(order, need, report, session)
    if report and fits and not session.missing(need, report):
        return session.kept(need, report)
    if order.action == "build":
        raise BuildFailed(
            f"{shown(order.target.id)}: {called(need.id)}, which it is made of, is not there",
            hint=f"another build may have taken its place: run imagefactory build {need.spec.selector}",
        )
    return None


def _fits(order: Order, need: Target, report: Report, session: Session) -> bool:
    if order.action == "build":
        return report.input_digest == need.input_digest
    own = session.last(order.target.id)
    made_of = {TargetId(each.kind, each.id): each.digest for each in own.needs} if own else {}
    return made_of.get(need.id) == report.digest


def _report(
    job: Job,
    session: Session,
    artifact: Artifact,
    trial: Trial,
    engines: dict[str, str],
    seconds: float,
) -> Report:
    target, tests = job.target, trial.tests
    spec = target.spec
    image = spec.image if isinstance(spec, ImageSpec) else None
    return Report(
        kind=target.id.kind,
        id=target.id.name,
        title=spec.title,
        version=image.version if image else "",
        status=_status(tests),
        input_digest=target.input_digest,
        tests_digest=target.tests_digest,
        digest=artifact.digest,
        bytes=artifact.bytes,
        built=now(),
        seconds=round(seconds, 3),
        steps=tuple(StepReport(name=s.name, seconds=s.seconds, cached=s.cached) for s in artifact.steps),
        tests=tests,
        engines=engines,
        memory=trial.memory,
        needs=tuple(_needed(kept.report) for kept in job.needs.values()),
        commands=artifact.commands or (image.commands if image else ()),
        environment=dict(image.environment) if image else {},
        path=image.path if image else (),
        stand_ins=spec.lock.stand_ins,
        non_free=_non_free(job),
        licence_accepted=accepted(image, session.site) if image else None,
        ingredients=dict(target.ingredients),
    )


def _non_free(job: Job) -> tuple[str, ...]:
    of_needs = (name for kept in job.needs.values() for name in kept.report.non_free)
    return tuple(sorted({*job.target.spec.lock.non_free, *of_needs}))


def _needed(report: Report) -> NeedReport:
    return NeedReport(kind=report.kind, id=report.id, input_digest=report.input_digest, digest=report.digest)


def _status(tests: Iterable[TestReport]) -> Literal["passed", "failed"]:
    return "failed" if any(test.status == "failed" for test in tests) else "passed"


def _finished(
    session: Session,
    target: Target,
    action: Literal["build", "test"],
    reasons: tuple[str, ...],
    report: Report,
    seconds: float,
) -> Result:
    """The result of what was made or tested: a failure where one of its tests failed."""
    id = target.id
    failed = [test for test in report.tests if test.status == "failed"]
    session.progress.done(shown(id), not failed, "tests failed" if failed else "done")
    if not failed:
        return Result(id.name, action, seconds, reasons, report, kind=id.kind)
    log = session.workspace.shown(session.record(id).log_file)
    error = TestsFailed(
        "\n".join(f"{shown(id)}: {test.title}: {test.reason}" for test in failed),
        hint=_look(target.spec.selector, report, log),
        details=[_details(id, test) for test in failed],
    )
    return Result(id.name, "failed", seconds, reasons, report, error, kind=id.kind)


def _look(selector: str, report: Report, log: str) -> str:
    """Where to look at what failed."""
    if report.candidate is None:
        return f"the log is {log}"
    look = f"imagefactory shell {selector} looks around in it"
    again = f"imagefactory test {selector} runs edited tests on it"
    return f"it is kept for you: {look}, and {again}; the log is {log}"


def _details(id: TargetId, test: TestReport) -> list[str]:
    """What failed; of a smoke test each expectation, and how its output ended."""
    if not test.command:
        return [f"{shown(id)}: {test.title}: {test.reason}"]
    lines = [f"{shown(id)}: {test.title} failed", f"  $ {shlex.join(test.command)}"]
    lines += [f"  {'✓' if each.fine else '✗'} {each.what}" for each in test.expectations]
    return lines + ([f"  | {line}" for line in test.last_lines] or ["  it wrote nothing"])
