"""What every SIF file keeps on a cluster, whoever runs it and whatever options they give."""

from __future__ import annotations

import functools
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from imagefactory.model.report import TestReport
from imagefactory.model.spec import ImageDefinition
from imagefactory.targets.sif.foreign import FOREIGN
from imagefactory.testing import contract
from imagefactory.testing.contract import Check, Look
from imagefactory.testing.subject import SOMEBODY, Call

if TYPE_CHECKING:
    from imagefactory.targets.sif.subject import SifSubject

CONTAINED = ("--containall", "--cleanenv", "--no-home")
MODES = ((), ("--containall",), ("--cleanenv",), ("--no-home",), CONTAINED)
"""The options that every test of the environment is run with."""


def cluster_tests(subject: SifSubject, image: ImageDefinition, scratch: Path) -> Iterator[TestReport]:
    """Run them all, one after the other. Raises only what the engine raises."""
    for options in MODES:
        yield from _together(subject, _everywhere(image), options)
    yield from _together(subject, _once(image), ())
    checks: dict[str, Check] = {
        "file-ownership": lambda: _ownership(subject, scratch),
        "labels": lambda: contract.labels(subject.labels(), image),
        "run-script": lambda: _run_script(subject),
        "self-test": lambda: _self_test(subject),
        "help": lambda: _help(subject, image),
    }
    for name, check in checks.items():
        yield _report(name, check, ())
    if image.needs.mpi:
        for options in ((), CONTAINED):
            yield _report("two-ranks", functools.partial(_two_ranks, subject, options), options)
    if image.needs.gpu and subject.nvidia:
        yield _report("gpu", lambda: _gpu(subject), ("--nv",))
    elif image.needs.gpu:
        yield _result("gpu", ("--nv",), "not-run", "no NVIDIA GPU answers on this machine")


def _everywhere(image: ImageDefinition) -> dict[str, tuple[str, Look]]:
    """Scripts that are run with all options, and what is made of their output."""
    return {
        "arbitrary-user": (contract.WORKS, contract.works(_caller())),
        "environment": contract.environment(image.environment),
        "commands": contract.commands(image),
    }


def _once(image: ImageDefinition) -> dict[str, tuple[str, Look]]:
    """Scripts that are run without options."""
    names = [name for name in FOREIGN if name not in image.environment]
    foreign = " ".join(f'[ -z "${{{name}-}}" ] || echo {name};' for name in names)
    every = contract.every_command(image)
    apps = f'for c in {every}; do [ -x "/scif/apps/$c/scif/runscript" ] || echo "$c"; done'
    scripts = {
        "read-only-root": (contract.WRITES, contract.says_nothing("can be written to")),
        "no-network": (contract.ROUTES, contract.says_nothing("does not run without network")),
        "foreign-variables": (
            f'{foreign} [ -n "${{PYTHONNOUSERSITE-}}" ] || echo PYTHONNOUSERSITE',
            contract.says_nothing("reach the inside"),
        ),
    }
    if len(image.named_commands) > 1:
        scripts["apps"] = (f"{apps}; :", contract.says_nothing("no apps for"))
    return scripts


def _together(
    subject: SifSubject, scripts: Mapping[str, tuple[str, Look]], options: tuple[str, ...]
) -> Iterator[TestReport]:
    for name, reason, seconds in contract.together(subject.given(options), scripts):
        yield _result(name, options, "failed" if reason else "passed", reason, seconds)


def _report(name: str, check: Check, options: tuple[str, ...]) -> TestReport:
    start = time.monotonic()
    reason = check()
    return _result(name, options, "failed" if reason else "passed", reason, time.monotonic() - start)


def _result(
    name: str,
    options: tuple[str, ...],
    status: Literal["passed", "failed", "not-run"],
    reason: str,
    seconds: float = 0.0,
) -> TestReport:
    return TestReport(
        name=name,
        kind="contract",
        options=" ".join(options),
        status=status,
        reason=reason,
        seconds=round(seconds, 3),
    )


def _run_script(subject: SifSubject) -> str:
    """The run script runs what it is given, word by word."""
    words = ("a b", "c'd", "$HOME", "e;f")
    outcome = subject.start(
        Call(command=("printf", "%s\\n", *words), environment=contract.QUIET), through="run"
    )
    return "" if outcome.output.splitlines() == list(words) else f"changes words: {contract.brief(outcome)}"


def _self_test(subject: SifSubject) -> str:
    outcome = subject.start(Call(command=(), environment=contract.QUIET), through="test")
    return f"fails: {contract.brief(outcome)}" if outcome.status else ""


def _help(subject: SifSubject, image: ImageDefinition) -> str:
    outcome = subject.start(Call(command=()), through="run-help")
    named = image.title in outcome.output and all(name in outcome.output for name in image.named_commands)
    return "" if named else f"does not name the image and its commands: {contract.brief(outcome)}"


def _two_ranks(subject: SifSubject, options: tuple[str, ...]) -> str:
    """The image's own MPI starts two processes that know of each other (Open MPI's variables, or MPICH's)."""
    rank = "${OMPI_COMM_WORLD_RANK:-${PMI_RANK-}} of ${OMPI_COMM_WORLD_SIZE:-${PMI_SIZE-}}"
    command = ("mpirun", "-np", "2", "sh", "-c", f'echo "rank {rank}"')
    outcome = subject.start(Call(command=command, environment=contract.QUIET), options)
    lines = sorted(outcome.output.splitlines())
    return "" if lines == ["rank 0 of 2", "rank 1 of 2"] else f"not two ranks: {contract.brief(outcome)}"


def _gpu(subject: SifSubject) -> str:
    outcome = subject.run(Call(command=("nvidia-smi", "--list-gpus")))
    return "" if outcome.status == 0 and "GPU" in outcome.output else f"no GPU: {contract.brief(outcome)}"


def _ownership(subject: SifSubject, scratch: Path) -> str:
    user = _caller()
    with tempfile.TemporaryDirectory(dir=scratch) as name:
        folder = Path(name)
        if os.getuid() == 0:
            os.chown(folder, *user)
        return contract.written_by(subject, folder, user)


def _caller() -> tuple[int, int]:
    return SOMEBODY if os.getuid() == 0 else (os.getuid(), os.getgid())
