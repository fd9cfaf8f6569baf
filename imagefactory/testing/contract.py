"""What every image keeps, whoever wrote its recipe."""

from __future__ import annotations

import functools
import json
import os
import re
import shlex
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path

from imagefactory.model.environment import shell_word
from imagefactory.model.report import TestReport
from imagefactory.model.spec import ImageDefinition
from imagefactory.testing.subject import SOMEBODY, Call, Outcome, Subject
from imagefactory.testing.survey import our_secrets, survey

CONTRACT_VERSION = 1
"""Raised when a test is added or made stricter, so that images are tested again."""

_OCI_LABELS = "title version licenses authors url source revision created base.name base.digest"
REQUIRED_LABELS = (
    *(f"org.opencontainers.image.{name}" for name in _OCI_LABELS.split()),
    "io.imagefactory.id",
    "io.imagefactory.input-digest",
)

_CREDENTIAL = re.compile(
    r"(?i)\b\w*(?:password|passwd|secret|api_?key|access_?key|token)=[^\s\"',]{4,}"
    r"|[a-z][a-z0-9+.-]*://[^/\s:@\"]+:[^/\s:@\"]+@"
)

# A machine without a GPU, as this one may be, is not what these tests are about.
QUIET = {"IMAGEFACTORY_GPU_CHECK": "off"}

Check = Callable[[], str]  # says what is wrong, or nothing
Look = Callable[[Outcome], str]  # the same, of what a script wrote

_MARK = "=imagefactory="


def contract_tests(
    subject: Subject, image: ImageDefinition, base_packages: Collection[str], scratch: Path
) -> Iterator[TestReport]:
    """Run every contract test, one after the other. Raises only what the engine raises.

    ``base_packages`` names the apt packages that the base image brought.
    """
    checks: dict[str, Check] = {
        "read-only-root": lambda: _read_only_root(subject),
        "not-root": lambda: _not_root(subject),
        "labels": lambda: labels(subject.labels(), image),
    }
    yield _owned_files(subject, scratch)
    for name, reason, seconds in together(subject, _scripts(image)):
        yield _result(name, reason, seconds)
    for name, check in checks.items():
        yield _report(name, check)
    yield from _layers(subject, image, base_packages)


def _scripts(image: ImageDefinition) -> dict[str, tuple[str, Look]]:
    return {
        "arbitrary-user": (WORKS, works(SOMEBODY)),
        "no-network": (ROUTES, says_nothing("does not start without network")),
        "environment": environment(image.environment),
        "commands": commands(image.commands),
    }


def _layers(subject: Subject, image: ImageDefinition, base_packages: Collection[str]) -> Iterator[TestReport]:
    if not subject.knows_base():
        for name in ("no-secrets", "no-leftovers", "no-new-setuid"):
            yield _not_run(name, f"the base image that it was built on is gone: build {image.id} again")
        return
    found = survey(subject.entries(), base_packages)
    checks: dict[str, Check] = {
        "no-secrets": lambda: _some(_secrets(subject.settings()) + found.secrets),
        "no-leftovers": lambda: _some(found.leftovers + _build_only(found.packages, image)),
        "no-new-setuid": lambda: _some(found.setuid),
    }
    for name, check in checks.items():
        yield _report(name, check)


def _report(name: str, check: Check) -> TestReport:
    start = time.monotonic()
    return _result(name, check(), time.monotonic() - start)


def _result(name: str, reason: str, seconds: float) -> TestReport:
    return TestReport(
        name=name,
        kind="contract",
        status="failed" if reason else "passed",
        reason=reason,
        seconds=round(seconds, 3),
    )


def shell(subject: Subject, script: str, options: tuple[str, ...] = ()) -> Outcome:
    """Run a shell script in the image."""
    return subject.run(Call(command=("sh", "-c", script), environment=QUIET, options=options))


def together(
    subject: Subject, scripts: Mapping[str, tuple[str, Look]], options: tuple[str, ...] = ()
) -> Iterator[tuple[str, str, float]]:
    """Run several scripts in one start of the image: the name of each, what is wrong, and its seconds."""
    lines = (f"( {script}\n); echo; echo {_MARK}$?" for script, _ in scripts.values())
    outcome = shell(subject, "\n".join(lines), options)
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


def _read_only_root(subject: Subject) -> str:
    volumes = re.search(r'"Volumes": ?\{"([^"]*)"', subject.settings())
    if volumes:
        return f"{volumes[1]} is a volume: the engine would write to it whatever the user says"
    outcome = subject.run(Call(command=("sh", "-c", WRITES), user=(0, 0), environment=QUIET))
    return says_nothing("does not start, or can be written to, on a read-only root")(outcome)


def environment(declared: Mapping[str, str]) -> tuple[str, Look]:
    """A script that names the declared variables that have another value, and what is made of its output."""
    compare = " ".join(
        f'[ "${{{name}-}}" = {shell_word(value)} ] || echo {name};' for name, value in declared.items()
    )
    return f"{compare} :", functools.partial(_names, "not set as declared")


def commands(declared: Sequence[str]) -> tuple[str, Look]:
    """The same of declared commands that are not there."""
    look = " ".join(f"command -v {shlex.quote(c)} >/dev/null || echo {c};" for c in declared)
    return f"{look} :", functools.partial(_names, "not found on PATH")


def _names(what: str, outcome: Outcome) -> str:
    wrong = outcome.output.split()
    return f"{what}: {', '.join(wrong)}" if wrong or outcome.status else ""


def says_nothing(what: str) -> Look:
    """Of a script that writes what is wrong: ``what`` names it."""
    return lambda out: f"{what}: {brief(out)}" if out.status or out.output.strip() else ""


def _not_root(subject: Subject) -> str:
    user = re.search(r'"User": ?"([^"]*)"', subject.settings())
    if user and user[1] and user[1].split(":")[0] not in ("0", "root"):
        return ""
    return "runs as root unless told otherwise"


def labels(found: Mapping[str, str], image: ImageDefinition) -> str:
    """All labels are there, and are this image's."""
    missing = [name for name in REQUIRED_LABELS if not found.get(name)]
    if missing:
        return f"missing or empty: {', '.join(missing)}"
    if found["io.imagefactory.id"] != image.id:
        return f"the image says it is {found['io.imagefactory.id']}"
    return ""


def _owned_files(subject: Subject, scratch: Path) -> TestReport:
    if not subject.local:
        return _not_run(
            "file-ownership", "the engine is on another machine, so no folder can be shared with it"
        )
    return _report("file-ownership", lambda: _ownership(subject, scratch))


def _not_run(name: str, reason: str) -> TestReport:
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


def _secrets(settings: str) -> list[str]:
    as_json = {name: json.dumps(value.decode())[1:-1] for name, value in our_secrets().items()}
    found = [
        f"the value of this machine's {name} in the configuration"
        for name, value in as_json.items()
        if value in settings
    ]
    if _CREDENTIAL.search(settings):
        found.append("a credential in the image's configuration or history")
    return found


def _build_only(packages: frozenset[str], image: ImageDefinition) -> list[str]:
    if image.build is None:
        return []
    only = set(image.build.inputs.apt) - set(image.inputs.apt)
    return [f"build-only package {name}" for name in sorted(only & packages)]


def _some(found: Sequence[str]) -> str:
    shown = ", ".join(found[:5])
    return shown + (f" and {len(found) - 5} more" if len(found) > 5 else "")


def brief(outcome: Outcome) -> str:
    """An outcome in a few words."""
    return outcome.stopped or f"status {outcome.status}, {' '.join(outcome.output.split())[:200]!r}"
