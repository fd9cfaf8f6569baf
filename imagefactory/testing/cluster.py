"""What every SIF file keeps on a cluster, whoever runs it and whatever options they give."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from imagefactory.model.report import TestReport
from imagefactory.model.spec import ImageDefinition
from imagefactory.testing import contract
from imagefactory.testing.subject import SOMEBODY, Call, Subject

CLUSTER_VERSION = 1
"""Raised when a test is added or made stricter, so that SIF files are tested again."""

CONTAINED = ("--containall", "--cleanenv", "--no-home")
MODES = ((), ("--containall",), ("--cleanenv",), ("--no-home",), CONTAINED)
"""The options that every test of the environment is run with."""

Check = Callable[[tuple[str, ...]], str]  # says what is wrong with these options, or nothing


def cluster_tests(
    subject: Subject, image: ImageDefinition, scratch: Path, nvidia: bool
) -> Iterator[TestReport]:
    """Run them all, one after the other. Raises only what the engine raises."""
    everywhere: dict[str, Check] = {
        "arbitrary-user": lambda options: _user(subject, options),
        "environment": lambda options: contract.environment(subject, image.environment, options),
        "commands": lambda options: contract.commands(subject, image.commands, options),
    }
    for name, check in everywhere.items():
        for options in MODES:
            yield _report(name, check, options)
    once: dict[str, Check] = {
        "file-ownership": lambda _: _ownership(subject, scratch),
        "read-only-root": lambda _: _read_only(subject),
        "no-network": lambda _: contract.no_network(subject),
        "foreign-libraries": lambda _: _foreign_libraries(subject),
        "labels": lambda _: contract.labels(subject.labels(), image),
        "run-script": lambda _: _run_script(subject),
        "self-test": lambda _: _self_test(subject),
        "help": lambda _: _help(subject, image),
    }
    if len(image.commands) > 1:
        once["apps"] = lambda _: _apps(subject, image)
    for name, check in once.items():
        yield _report(name, check, ())
    if image.needs.mpi:
        for options in ((), CONTAINED):
            yield _report("two-ranks", lambda options: _two_ranks(subject, options), options)
    if image.needs.gpu:
        if nvidia:
            yield _report("gpu", lambda _: _gpu(subject), ("--nv",))
        else:
            yield TestReport(
                name="gpu",
                kind="contract",
                format="sif",
                options="--nv",
                status="not-run",
                reason="no NVIDIA GPU answers on this machine",
            )


def _report(name: str, check: Check, options: tuple[str, ...]) -> TestReport:
    start = time.monotonic()
    reason = check(options)
    return TestReport(
        name=name,
        kind="contract",
        format="sif",
        options=" ".join(options),
        status="failed" if reason else "passed",
        reason=reason,
        seconds=round(time.monotonic() - start, 3),
    )


def _user(subject: Subject, options: tuple[str, ...]) -> str:
    """The caller's own user, home and working folder, all of use."""
    script = 'id -u; id -g; echo x >"$HOME/probe" && echo x >./probe && echo fine; pwd'
    outcome = contract.shell(subject, script, options)
    user = _caller()
    *words, _folder = outcome.output.split() or [""]
    if words == [str(user[0]), str(user[1]), "fine"]:
        return ""
    return f"user {user[0]} in group {user[1]} can't work here: {contract.brief(outcome)}"


def _read_only(subject: Subject) -> str:
    script = "for d in / /etc /usr /opt /var; do (: >$d/.probe) 2>/dev/null && echo $d; done; :"
    outcome = contract.shell(subject, script)
    if outcome.status or outcome.output.strip():
        return f"does not start, or can be written to: {contract.brief(outcome)}"
    return ""


def _foreign_libraries(subject: Subject) -> str:
    """What ``module load python`` sets outside must not reach interpreters inside."""
    names = ("PYTHONPATH", "PYTHONHOME", "PERL5LIB", "R_LIBS", "R_LIBS_USER")
    script = " ".join(f'[ -z "${{{name}-}}" ] || echo {name};' for name in names)
    outcome = contract.shell(subject, f'{script} [ -n "${{PYTHONNOUSERSITE-}}" ] || echo PYTHONNOUSERSITE')
    return f"reach the inside: {contract.brief(outcome)}" if outcome.output.strip() else ""


def _run_script(subject: Subject) -> str:
    """The run script runs what it is given, word by word."""
    words = ("a b", "c'd", "$HOME", "e;f")
    outcome = subject.run(
        Call(command=("printf", "%s\\n", *words), through="run", environment=contract.QUIET)
    )
    return "" if outcome.output.splitlines() == list(words) else f"changes words: {contract.brief(outcome)}"


def _self_test(subject: Subject) -> str:
    outcome = subject.run(Call(command=(), through="test", environment=contract.QUIET))
    return f"fails: {contract.brief(outcome)}" if outcome.status else ""


def _help(subject: Subject, image: ImageDefinition) -> str:
    outcome = subject.run(Call(command=(), through="run-help"))
    named = image.title in outcome.output and all(name in outcome.output for name in image.commands)
    return "" if named else f"does not name the image and its commands: {contract.brief(outcome)}"


def _apps(subject: Subject, image: ImageDefinition) -> str:
    """There is an app for each command. That a command runs is for the smoke tests to show."""
    look = " ".join(f"[ -x /scif/apps/{name}/scif/runscript ] || echo {name};" for name in image.commands)
    outcome = contract.shell(subject, f"{look} :")
    missing = outcome.output.split()
    return f"no apps for: {', '.join(missing)}" if missing or outcome.status else ""


def _two_ranks(subject: Subject, options: tuple[str, ...]) -> str:
    """The image's own MPI starts two processes that know of each other (Open MPI's variables, or MPICH's)."""
    rank = "${OMPI_COMM_WORLD_RANK:-${PMI_RANK-}} of ${OMPI_COMM_WORLD_SIZE:-${PMI_SIZE-}}"
    command = ("mpirun", "-np", "2", "sh", "-c", f'echo "rank {rank}"')
    outcome = subject.run(Call(command=command, options=options, environment=contract.QUIET))
    lines = sorted(outcome.output.splitlines())
    return "" if lines == ["rank 0 of 2", "rank 1 of 2"] else f"not two ranks: {contract.brief(outcome)}"


def _gpu(subject: Subject) -> str:
    outcome = subject.run(Call(command=("nvidia-smi", "--list-gpus")))
    return "" if outcome.status == 0 and "GPU" in outcome.output else f"no GPU: {contract.brief(outcome)}"


def _ownership(subject: Subject, scratch: Path) -> str:
    user = _caller()
    with tempfile.TemporaryDirectory(dir=scratch) as name:
        folder = Path(name)
        if os.getuid() == 0:
            os.chown(folder, *user)
        return contract.written_by(subject, folder, user)


def _caller() -> tuple[int, int]:
    return SOMEBODY if os.getuid() == 0 else (os.getuid(), os.getgid())
