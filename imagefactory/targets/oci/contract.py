"""What every OCI image keeps beside what all images keep: an unprivileged user, and nothing in its layers
that should not be there.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from imagefactory.model.report import TestReport
from imagefactory.model.spec import ImageDefinition
from imagefactory.targets.oci.survey import Entry, our_secrets, survey
from imagefactory.testing.contract import (
    QUIET,
    WRITES,
    common_tests,
    not_run,
    outcome_of,
    report_of,
    says_nothing,
)
from imagefactory.testing.subject import Call, Subject

_CREDENTIAL = re.compile(
    r"(?i)\b\w*(?:password|passwd|secret|api_?key|access_?key|token)=[^\s\"',]{4,}"
    r"|[a-z][a-z0-9+.-]*://[^/\s:@\"]+:[^/\s:@\"]+@"
)


class Layered(Subject, Protocol):
    """An image under test whose configuration and layers can be looked at."""

    def settings(self) -> str:
        """The image's whole configuration and history, as text."""

    def knows_base(self) -> bool:
        """Whether it can be told which layers the base image brought."""

    def entries(self) -> Iterator[Entry]:
        """Every path of every layer above the base image's, with those that a later layer deletes."""


def contract_tests(
    subject: Layered, image: ImageDefinition, base_packages: Collection[str], scratch: Path
) -> Iterator[TestReport]:
    """Run every contract test, one after the other. Raises only what the engine raises.

    ``base_packages`` names the apt packages that the base image brought.
    """
    yield from common_tests(subject, image, scratch)
    yield report_of("read-only-root", lambda: _read_only_root(subject))
    yield report_of("not-root", lambda: _not_root(subject))
    yield from _layers(subject, image, base_packages)


def _layers(subject: Layered, image: ImageDefinition, base_packages: Collection[str]) -> Iterator[TestReport]:
    if not subject.knows_base():
        for name in ("no-secrets", "no-leftovers", "no-new-setuid"):
            yield not_run(name, f"the base image that it was built on is gone: build {image.id} again")
        return
    start = time.monotonic()
    seen = survey(subject.entries(), base_packages)
    finds = {
        "no-secrets": [*_secrets(subject.settings()), *seen.secrets],
        "no-leftovers": [*seen.leftovers, *_build_only(seen.packages, image)],
        "no-new-setuid": seen.setuid,
    }
    seconds = (time.monotonic() - start) / len(finds)
    for name, texts in finds.items():
        reasons = {waiver.path: waiver.reason for waiver in image.waivers if waiver.test == name}
        waived = {text: reasons[path] for text in texts if (path := seen.paths.get(text)) in reasons}
        report = outcome_of(name, _some([text for text in texts if text not in waived]), seconds)
        told = [f"{text}: {reason}" for text, reason in sorted(waived.items())]
        needed = {seen.paths[text] for text in waived}
        told += [f"{path}: nothing is to be waived there" for path in reasons if path not in needed]
        yield report.model_copy(update={"waived": tuple(told)})


def _read_only_root(subject: Layered) -> str:
    volumes = re.search(r'"Volumes": ?\{"([^"]*)"', subject.settings())
    if volumes:
        return f"{volumes[1]} is a volume: the engine would write to it whatever the user says"
    outcome = subject.run(Call(command=("sh", "-c", WRITES), user=(0, 0), environment=QUIET))
    return says_nothing("does not start, or can be written to, on a read-only root")(outcome)


def _not_root(subject: Layered) -> str:
    user = re.search(r'"User": ?"([^"]*)"', subject.settings())
    if user and user[1] and user[1].split(":")[0] not in ("0", "root"):
        return ""
    return "runs as root unless told otherwise"


def _secrets(settings: str) -> list[str]:
    as_json = {name: json.dumps(value.decode())[1:-1] for name, value in our_secrets().items()}
    seen = [
        f"the value of this machine's {name} in the configuration"
        for name, value in as_json.items()
        if value in settings
    ]
    if _CREDENTIAL.search(settings):
        seen.append("a credential in the image's configuration or history")
    return seen


def _build_only(packages: frozenset[str], image: ImageDefinition) -> list[str]:
    if image.build_inputs is None:
        return []
    only = set(image.build_inputs.apt) - set(image.inputs.apt)
    return [f"build-only package {name}" for name in sorted(only & packages)]


def _some(seen: Sequence[str]) -> str:
    shown = ", ".join(seen[:5])
    return shown + (f" and {len(seen) - 5} more" if len(seen) > 5 else "")
