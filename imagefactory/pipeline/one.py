"""One image, from its definition to a tested and kept artifact."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from imagefactory.errors import BadInput, NotLocked
from imagefactory.log import Log
from imagefactory.model.report import Report, StepReport, TestReport
from imagefactory.model.spec import Artifact, ImageDefinition, Step, TestedArtifact
from imagefactory.pipeline.guard import guarded
from imagefactory.pipeline.licences import accepted
from imagefactory.pipeline.result import Options, Result, finished, now
from imagefactory.pipeline.session import Session
from imagefactory.pipeline.smoke import mounts_of
from imagefactory.pipeline.specs import Planned, Unlocked, plan_image
from imagefactory.plan import tests_digest
from imagefactory.records import Record, record_of, write_files
from imagefactory.testing import contract_tests, not_true, smoke_test


def build_one(session: Session, image: ImageDefinition, options: Options) -> Result:
    """Bring one image up to date, whose inputs are locked and in the store: build and test it, test it, or
    find that nothing is to be done.
    """
    record = record_of(session.workspace, image.id)

    def work() -> Result:
        planned = _planned(session, image)
        action, reasons = planned.verdict.action, planned.verdict.reasons
        if not options.cache:
            action, reasons = "build", ("--no-cache was given",)
        if action == "nothing":
            return Result(image.id, "nothing", 0.0, reasons, record.read())
        start = time.monotonic()
        with contextlib.closing(Log(image.id, record.log_file, session.progress)) as log:
            if action == "test":
                log.phase(f"testing again: {', '.join(reasons)}")
                report = _test_again(session, record, planned, log)
            else:
                report = _build(session, record, planned, reasons, log, options)
        return finished(session, "oci", action, reasons, report, report.tests, time.monotonic() - start)

    return guarded(image.id, record, session.progress, session.stop, work)


def test_one(session: Session, image: ImageDefinition) -> Result:
    """Test one image as it was last built."""
    record = record_of(session.workspace, image.id)

    def work() -> Result:
        report = record.read()
        if report is None or not session.backend.find(report.reference, report.image_digest):
            raise BadInput(
                f"{image.id} is not built, so it cannot be tested",
                hint=f"run imagefactory build {image.id}",
            )
        start = time.monotonic()
        planned = _planned(session, image)
        with contextlib.closing(Log(image.id, record.log_file, session.progress)) as log:
            report = _test_again(session, record, planned, log)
        seconds = time.monotonic() - start
        return finished(session, "oci", "test", ("asked for",), report, report.tests, seconds)

    return guarded(image.id, record, session.progress, session.stop, work)


def _planned(session: Session, image: ImageDefinition) -> Planned:
    planned = plan_image(session.workspace, image, session.backend, session.site)
    if isinstance(planned, Unlocked):
        reason = planned.verdict.reasons[0]
        raise NotLocked(f"{image.id}: {reason}", hint=f"run imagefactory lock {image.id}")
    return planned


def _build(
    session: Session, record: Record, planned: Planned, reasons: Sequence[str], log: Log, options: Options
) -> Report:
    backend = session.backend
    engines = dict(backend.engines())
    log.phase(f"building: {', '.join(reasons)}")
    spec, context = planned.spec, planned.context
    definition = session.apptainer.definition(spec, context.input_digest)
    write_files(record.context, (*context.files, definition))
    with record.scratch_folder() as scratch:
        artifact = backend.build(
            spec,
            record.context,
            context.input_digest,
            session.means(log, scratch, spec.platform),
            cache=options.cache,
        )
        try:
            tests = _run_tests(session, record, planned, artifact, scratch, log)
            report = _report(session, planned, artifact, tests, artifact.steps, engines)
            if report.status == "passed":
                kept = backend.keep(TestedArtifact(artifact), spec.image.version, spec.lock.stand_ins)
                report = report.model_copy(update={"reference": kept.reference})
            record.write(report)
        finally:
            backend.discard(artifact)
    return report


def _test_again(session: Session, record: Record, planned: Planned, log: Log) -> Report:
    old = record.read()
    assert old is not None
    artifact = Artifact(old.id, session.backend.format, old.reference, old.image_digest, old.bytes, ())
    with record.scratch_folder() as scratch:
        tests = _run_tests(session, record, planned, artifact, scratch, log)
    status = "failed" if any(test.status == "failed" for test in tests) else "passed"
    # A test that could not run is owed: the old digest has the next build ask for it again.
    owed = any(test.status == "not-run" for test in tests)
    digest = old.tests_digest if owed else tests_digest(planned.image)
    report = old.model_copy(update={"status": status, "tests": tuple(tests), "tests_digest": digest})
    record.write(report)
    return report


def _run_tests(
    session: Session, record: Record, planned: Planned, artifact: Artifact, scratch: Path, log: Log
) -> list[TestReport]:
    log.phase("testing")
    image = planned.image
    mounts = mounts_of(image, scratch)
    tests = []
    stand_ins = planned.spec.lock.stand_ins
    with session.backend.subject(artifact, planned.spec.base, scratch, session.stop) as subject:
        for test in image.tests:
            log.step(f"test {test.name}")
            if stand_ins:
                tests.append(not_true(test, stand_ins))
            else:
                report, text = smoke_test(subject, test, mounts)
                record.write_output("oci", test.name, text)
                tests.append(report)
            log.test_done(tests[-1])
        of_base = {file.name for file in planned.spec.base_lock.image.apt}
        for report in contract_tests(subject, image, of_base, scratch):
            tests.append(report)
            log.test_done(report)
    return tests


def _report(
    session: Session,
    planned: Planned,
    artifact: Artifact,
    tests: Iterable[TestReport],
    steps: Iterable[Step],
    engines: dict[str, str],
) -> Report:
    image, tests = planned.image, tuple(tests)
    return Report(
        id=image.id,
        title=image.title,
        version=image.version,
        status="failed" if any(test.status == "failed" for test in tests) else "passed",
        reference="",
        input_digest=planned.context.input_digest,
        tests_digest=tests_digest(image),
        image_digest=artifact.digest,
        bytes=artifact.bytes,
        built=now(),
        steps=tuple(StepReport(name=s.name, seconds=s.seconds, cached=s.cached) for s in steps),
        tests=tests,
        engines=engines,
        stand_ins=planned.spec.lock.stand_ins,
        licence_accepted=accepted(image, session.site),
        ingredients=dict(planned.context.ingredients),
    )
