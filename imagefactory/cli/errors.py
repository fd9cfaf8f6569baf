"""Failures on the screen: what failed, where, and what to do next."""

from __future__ import annotations

import os
import sys

import click

from imagefactory.cli.calling import pasteable
from imagefactory.errors import BadFiles, BuildFailed, FactoryError, TestsFailed
from imagefactory.system.redact import harmless, redact


def show_error(error: FactoryError) -> None:
    """Write one failure to standard error."""
    if isinstance(error, BadFiles):
        for problem in error.problems:
            _say(str(problem))
        count = len(error.problems)
        _say(f"{count} problem{'s' if count != 1 else ''}", colour="red")
        if error.hint:
            _say(f"  → {pasteable(error.hint)}")
        return
    if isinstance(error, BuildFailed) and error.tail:
        for line in error.tail:
            _say(f"  | {redact(line)}", dim=True)
    if isinstance(error, TestsFailed) and error.details:
        for first, *more in error.details:
            _say(f"error: {redact(first)}", colour="red")
            for line in more:
                _say(redact(line))
    else:
        for line in pasteable(redact(error.message)).splitlines():
            _say(f"error: {line}", colour="red")
    for line in pasteable(redact(error.hint)).splitlines():
        _say(f"  → {line}")
    if isinstance(error, BuildFailed) and error.log:
        _say(f"  → everything it wrote: {error.log}")


def _say(text: str, colour: str | None = None, *, dim: bool = False) -> None:
    shown = harmless(text)
    if sys.stderr.isatty() and not os.environ.get("NO_COLOR"):
        shown = click.style(shown, fg=colour, dim=dim)
    click.echo(shown, err=True)
