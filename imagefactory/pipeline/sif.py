"""The SIF file of one image: made from the tested OCI image, tested as a cluster's user runs it, and kept."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Iterator
from pathlib import Path

from imagefactory.errors import BadInput, BuildFailed
from imagefactory.log import Log
from imagefactory.model.recipe import SmokeTest
from imagefactory.model.report import Report, SifReport, StepReport, TestReport
from imagefactory.model.spec import Artifact, ImageDefinition, TestedArtifact
from imagefactory.pipeline.guard import guarded
from imagefactory.pipeline.result import Options, Result, finished, now
from imagefactory.pipeline.session import Session
from imagefactory.pipeline.smoke import mounts_of, rerun
from imagefactory.pipeline.specs import Planned, Unlocked, plan_image
from imagefactory.plan import cluster_digest, judge_sif
from imagefactory.records import Record, record_of
from imagefactory.testing import CONTAINED, cluster_tests, difference, not_true, smoke_test
from imagefactory.testing.subject import Subject


def sif_one(session: Session, image: ImageDefinition, options: Options) -> Result:
    """Bring the SIF file of an image that is built, tested and up to date in Docker up to date as well."""
    record = record_of(session.workspace, image.id)

    def work() -> Result:
        planned, report = _built(session, image, record)
        verdict = judge_sif(image, report, session.apptainer.version, record.folder)
        action, reasons = verdict.action, verdict.reasons
        if not options.cache and action != "build":
            action, reasons = "build", ("--no-cache was given",)
        if action == "nothing":
            return Result(image.id, "nothing", 0.0, reasons, report, format="sif")
        start = time.monotonic()
        with contextlib.closing(Log(image.id, record.log_file, session.progress, append=True)) as log:
            if action == "test":
                log.phase(f"testing its SIF file again: {', '.join(reasons)}")
                report = _test_again(session, record, planned, report, log)
            else:
                log.phase(f"making its SIF file: {', '.join(reasons)}")
                report = _make(session, record, planned, report, log)
        assert report.sif
        return finished(session, "sif", action, reasons, report, report.sif.tests, time.monotonic() - start)

    return guarded(image.id, record, session.progress, session.stop, work, format="sif")


def test_sif(session: Session, image: ImageDefinition) -> Result:
    """Test the SIF file of an image as it was last made."""
    record = record_of(session.workspace, image.id)

    def work() -> Result:
        planned, report = _built(session, image, record)
        if not has_sif(record, report):
            raise BadInput(
                f"{image.id} has no SIF file, so it cannot be tested",
                hint=f"run imagefactory build {image.id} --format sif",
            )
        start = time.monotonic()
        with contextlib.closing(Log(image.id, record.log_file, session.progress, append=True)) as log:
            report = _test_again(session, record, planned, report, log)
        assert report.sif
        seconds = time.monotonic() - start
        return finished(session, "sif", "test", ("asked for",), report, report.sif.tests, seconds)

    return guarded(image.id, record, session.progress, session.stop, work, format="sif")


def has_sif(record: Record, report: Report | None) -> bool:
    """Whether the image's SIF file is there, as its report has it."""
    sif = report.sif if report else None
    return bool(sif and sif.file and (record.folder / sif.file).is_file())


def check_sif(record: Record, sif: SifReport) -> None:
    """Raises BuildFailed where the file is not the one that was tested."""
    file = record.folder / sif.file
    with file.open("rb") as data:
        found = hashlib.file_digest(data, "sha256").hexdigest()
    if found != sif.sha256:
        raise BuildFailed(
            f"{file} is damaged: its sha256 is {found}, and {sif.sha256} was tested",
            hint=f"remove it, then run imagefactory build {record.folder.name}",
        )


def _built(session: Session, image: ImageDefinition, record: Record) -> tuple[Planned, Report]:
    """The image with its report; both must be of one tested OCI image that the engine still has."""
    planned = plan_image(session.workspace, image, session.backend, session.site)
    report = record.read()
    there = (
        report and report.status == "passed" and session.backend.find(report.reference, report.image_digest)
    )
    if isinstance(planned, Unlocked) or not there:
        raise BadInput(
            f"{image.id} is not built and tested for Docker, of which its SIF file is made",
            hint=f"run imagefactory build {image.id}",
        )
    assert report
    return planned, report


def _make(session: Session, record: Record, planned: Planned, report: Report, log: Log) -> Report:
    apptainer = session.apptainer
    engines = dict(apptainer.engines())
    with record.scratch_folder() as scratch:
        archive = scratch / "image.tar"
        session.backend.export(report.reference, archive)
        artifact = apptainer.make(report.id, archive, report.image_digest, scratch, log, session.stop)
        archive.unlink()
        tests = _run_tests(session, record, planned, report, artifact, scratch, log)
        failed = any(test.status == "failed" for test in tests)
        file = ""
        if not failed:
            image = planned.image
            kept = apptainer.keep(
                TestedArtifact(artifact), record.folder, image.version, report.input_digest, report.stand_ins
            )
            file = kept.name
        sif = SifReport(
            status="failed" if failed else "passed",
            file=file,
            made_from=report.image_digest,
            converter=apptainer.version,
            sha256=artifact.digest,
            bytes=artifact.bytes,
            built=now(),
            steps=tuple(StepReport(name=s.name, seconds=s.seconds) for s in artifact.steps),
            tests=tuple(tests),
            tests_digest=cluster_digest(planned.image),
            engines=engines,
        )
        report = report.model_copy(update={"sif": sif})
        record.write(report)
    return report


def _test_again(session: Session, record: Record, planned: Planned, report: Report, log: Log) -> Report:
    old = report.sif
    assert old is not None
    session.apptainer.engines()
    check_sif(record, old)
    artifact = Artifact(report.id, "sif", str(record.folder / old.file), old.sha256, old.bytes, ())
    with record.scratch_folder() as scratch:
        tests = _run_tests(session, record, planned, report, artifact, scratch, log)
    failed = any(test.status == "failed" for test in tests)
    update = {
        "status": "failed" if failed else "passed",
        "tests": tuple(tests),
        "tests_digest": cluster_digest(planned.image),
    }
    report = report.model_copy(update={"sif": old.model_copy(update=update)})
    record.write(report)
    return report


def _run_tests(
    session: Session,
    record: Record,
    planned: Planned,
    report: Report,
    artifact: Artifact,
    scratch: Path,
    log: Log,
) -> list[TestReport]:
    log.phase("testing its SIF file")
    image, found = planned.image, []
    subject = session.apptainer.subject(artifact, image, scratch, session.stop)
    for test in _smoke_tests(session, record, planned, report, subject, scratch, log):
        found.append(test)
        log.test_done(test)
    for test in cluster_tests(subject, image, scratch, session.apptainer.nvidia()):
        found.append(test)
        log.test_done(test)
    return found


def _smoke_tests(
    session: Session,
    record: Record,
    planned: Planned,
    report: Report,
    subject: Subject,
    scratch: Path,
    log: Log,
) -> Iterator[TestReport]:
    """Each test twice: with nothing shut out, and with everything shut out that Apptainer can."""
    image = planned.image
    mounts = mounts_of(image, scratch)
    for test in image.tests:
        for options in ((), CONTAINED):
            words = {"format": "sif", "options": " ".join(options)}
            if report.stand_ins:
                yield not_true(test, report.stand_ins).model_copy(update=words)
                continue
            log.step(f"SIF test {test.name}")
            found, text = smoke_test(subject, test, mounts, options)
            record.write_output("sif-contained" if options else "sif", test.name, text)
            if found.status == "passed":
                found = _compared(session, record, planned, report, test, found, text, scratch)
            yield found.model_copy(update=words)


def _compared(
    session: Session,
    record: Record,
    planned: Planned,
    report: Report,
    test: SmokeTest,
    found: TestReport,
    text: str,
    scratch: Path,
) -> TestReport:
    """The report of a test that passed, or that it wrote something else than in Docker."""

    def again() -> str:
        artifact = Artifact(
            report.id, session.backend.format, report.reference, report.image_digest, report.bytes, ()
        )
        return rerun(session, planned, artifact, test, scratch)

    expected = record.read_output("oci", test.name)
    if expected is None:
        expected = again()
        record.write_output("oci", test.name, expected)
    reason = difference(expected, text, again, test.varies)
    if not reason:
        return found
    return found.model_copy(update={"status": "failed", "reason": f"differs from Docker: {reason}"})
