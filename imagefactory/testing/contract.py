"""What every image keeps, whoever wrote its recipe."""

from __future__ import annotations

import functools
import os
import re
import shlex
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from imagefactory.model.environment import shell_word
from imagefactory.model.report import TestReport
from imagefactory.model.spec import ImageDefinition
from imagefactory.testing.subject import SOMEBODY, Call, Outcome, Subject

_OCI_LABELS = "title version licenses authors url source revision created base.name base.digest"
REQUIRED_LABELS = (
    *(f"org.opencontainers.image.{name}" for name in _OCI_LABELS.split()),
    "io.imagefactory.id",
    "io.imagefactory.input-digest",
)

# A machine without a GPU, as this one may be, is not what these tests are about.
QUIET = {"IMAGEFACTORY_GPU_CHECK": "off"}

Check = Callable[[], str]  # says what is wrong, or nothing
Look = Callable[[Outcome], str]  # the same, of what a script wrote

_MARK = "=imagefactory="


def common_tests(subject: Subject, image: ImageDefinition, scratch: Path) -> Iterator[TestReport]:
    """What every image keeps in whatever form. Raises only what the engine raises."""
    yield _owned_files(subject, scratch)
    for name, reason, seconds in together(subject, _scripts(image)):
        yield outcome_of(name, reason, seconds)
    yield report_of("labels", lambda: labels(subject.labels(), image))


def _scripts(image: ImageDefinition) -> dict[str, tuple[str, Look]]:
    return {
        "arbitrary-user": (WORKS, works(SOMEBODY)),
        "no-network": (ROUTES, says_nothing("does not start without network")),
        "environment": environment(image.environment),
        "commands": commands(image),
    }


def report_of(name: str, check: Check) -> TestReport:
    """The report of a check that is made now."""
    start = time.monotonic()
    return outcome_of(name, check(), time.monotonic() - start)


def outcome_of(name: str, reason: str, seconds: float) -> TestReport:
    """The report of a test that failed for ``reason``, or passed where there is none."""
    return TestReport(
        name=name,
        kind="contract",
        status="failed" if reason else "passed",
        reason=reason,
        seconds=round(seconds, 3),
    )


def shell(subject: Subject, script: str) -> Outcome:
    """Run a shell script in the image."""
    return subject.run(Call(command=("sh", "-c", script), environment=QUIET))


def together(subject: Subject, scripts: Mapping[str, tuple[str, Look]]) -> Iterator[tuple[str, str, float]]:
    """Run several scripts in one start of the image: the name of each, what is wrong, and its seconds."""
    lines = (f"( {script}\n); echo; echo {_MARK}$?" for script, _ in scripts.values())
    outcome = shell(subject, "\n".join(lines))
    parts = re.split(rf"^{_MARK}(\d+)$\n?", outcome.output, flags=re.MULTILINE)
    whole = len(parts) == 2 * len(scripts) + 1
    for place, (name, (_, look)) in enumerate(scripts.items()):
        reason = f"does not start: {brief(outcome)}"
        if whole:
            status, output = int(parts[2 * place + 1]), parts[2 * place].removesuffix("\n")
            reason = look(Outcome(status, output, outcome.seconds))
        yield name, reason, outcome.seconds / len(scripts)


WORKS = 'id -u; id -g; echo x >"$HOME/probe" && echo x >./probe && echo fine'
"""A script that a caller can run who has a user, a home and a working folder of all use."""


def works(user: tuple[int, int]) -> Look:
    """What is made of the output of ``WORKS``."""
    uid, gid = user

    def look(outcome: Outcome) -> str:
        if outcome.output.split() == [str(uid), str(gid), "fine"]:
            return ""
        return f"user {uid} in group {gid} cannot work here: {brief(outcome)}"

    return look


WRITES = "for d in / /etc /usr /opt /var; do (: >$d/.probe) 2>/dev/null && echo $d; done; :"
"""A script that names the system's folders that can be written to."""

ROUTES = "tail -n +2 /proc/net/route"
"""A script that writes a line for each way into a network."""


def environment(declared: Mapping[str, str]) -> tuple[str, Look]:
    """A script that names the declared variables that have another value, and what is made of its output."""
    compare = " ".join(
        f'[ "${{{name}-}}" = {shell_word(value)} ] || echo {name};' for name, value in declared.items()
    )
    return f"{compare} :", functools.partial(_names, "not set as declared")


def commands(image: ImageDefinition) -> tuple[str, Look]:
    """The same of an image's commands that are not there."""
    look = f'for c in {every_command(image)}; do command -v "$c" >/dev/null || echo "$c"; done; :'
    return look, functools.partial(_names, "not found on PATH")


def every_command(image: ImageDefinition) -> str:
    """All its commands as words of a shell in the image, which knows those that patterns mean."""
    if image.patterns:
        return "$(cat /etc/imagefactory/commands)"
    return " ".join(map(shlex.quote, image.commands))


def _names(what: str, outcome: Outcome) -> str:
    wrong = outcome.output.split()
    return f"{what}: {', '.join(wrong)}" if wrong or outcome.status else ""


def says_nothing(what: str) -> Look:
    """Of a script that writes what is wrong: ``what`` names it."""
    return lambda out: f"{what}: {brief(out)}" if out.status or out.output.strip() else ""


def labels(there: Mapping[str, str], image: ImageDefinition) -> str:
    """All labels are there, and are this image's."""
    missing = [name for name in REQUIRED_LABELS if not there.get(name)]
    if missing:
        return f"missing or empty: {', '.join(missing)}"
    if there["io.imagefactory.id"] != image.id:
        return f"the image says it is {there['io.imagefactory.id']}"
    return ""


def _owned_files(subject: Subject, scratch: Path) -> TestReport:
    if not subject.local:
        return not_run(
            "file-ownership", "the engine is on another machine, so no folder can be shared with it"
        )
    return report_of("file-ownership", lambda: _ownership(subject, scratch))


def not_run(name: str, reason: str) -> TestReport:
    """The report of a test that can't be run."""
    return TestReport(name=name, kind="contract", status="not-run", reason=reason)


def _ownership(subject: Subject, scratch: Path) -> str:
    """Files written into a caller's folder belong to the caller."""
    root = os.getuid() == 0
    user = SOMEBODY if root else (os.getuid(), os.getgid())
    with tempfile.TemporaryDirectory(dir=scratch) as name:
        folder = Path(name)
        if root:
            os.chown(folder, *user)
        return written_by(subject, folder, user)


def written_by(subject: Subject, folder: Path, user: tuple[int, int]) -> str:
    """What ``user`` writes into a folder of this machine belongs to that user."""
    outcome = subject.run(
        Call(command=("sh", "-c", "echo x >out && mkdir sub"), user=user, in_folder=folder, environment=QUIET)
    )
    for file in (folder / "out", folder / "sub"):
        if outcome.status or not file.exists():
            return f"cannot write into a bind mount: {brief(outcome)}"
        owner = (file.stat().st_uid, file.stat().st_gid)
        if owner != user:
            return f"a file of user {user[0]} came out as {owner[0]}:{owner[1]}"
    return ""


def brief(outcome: Outcome) -> str:
    """An outcome in a few words."""
    return outcome.stopped or f"status {outcome.status}, {' '.join(outcome.output.split())[:200]!r}"
