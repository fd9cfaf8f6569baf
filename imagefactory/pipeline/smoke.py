"""Smoke tests of an image in the Docker Engine."""

from __future__ import annotations

from pathlib import Path

from imagefactory.model.recipe import SmokeTest
from imagefactory.model.spec import Artifact, ImageDefinition
from imagefactory.pipeline.session import Session
from imagefactory.pipeline.specs import Planned
from imagefactory.records import write_files
from imagefactory.testing import smoke_test
from imagefactory.testing.subject import Mount

TESTS_AT = "/tests"


def mounts_of(image: ImageDefinition, scratch: Path) -> tuple[Mount, ...]:
    """The recipe's tests as every test sees them: a copy that anyone may read, whatever the modes here."""
    return (Mount(write_files(scratch / "tests", image.folder.tests), TESTS_AT),)


def rerun(session: Session, planned: Planned, artifact: Artifact, test: SmokeTest, scratch: Path) -> str:
    """All that one test writes now."""
    mounts = (Mount(scratch / "tests", TESTS_AT),)
    with session.backend.subject(artifact, planned.spec.base, scratch, session.stop) as subject:
        return smoke_test(subject, test, mounts)[1]
