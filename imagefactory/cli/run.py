"""What commands that do something have in common: a session that is watched, and an end with a status."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from imagefactory.backends.protocol import Backend, Converter
    from imagefactory.pipeline.result import Result
    from imagefactory.pipeline.session import Session
    from imagefactory.workspace import Workspace


def backend_of(workspace: Workspace) -> Backend:
    """What builds and runs images here. Connects to the engine when it is first asked."""
    from imagefactory.backends.docker import DockerBackend

    return DockerBackend(workspace.key)


def apptainer_of() -> Converter:
    """What makes SIF files. Looks for the engine when it is first asked."""
    from imagefactory.backends.apptainer import ApptainerBackend

    return ApptainerBackend()


@contextlib.contextmanager
def session_of(workspace: Workspace, verbose: bool) -> Iterator[Session]:
    """A run that is watched on the screen, and that an interrupt ends."""
    from imagefactory.cli.progress import watch
    from imagefactory.pipeline.session import Session
    from imagefactory.site import load_site

    site, backend = load_site(workspace), backend_of(workspace)
    with watch(verbose=verbose) as (progress, stop):
        yield Session(workspace, site, backend, apptainer_of(), progress, stop)


def ask_person() -> Callable[[str], bool] | None:
    """Puts a question to whoever sits at the terminal; None where nobody does."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return None
    return lambda question: click.confirm(question, err=True)


def conclude(results: list[Result], as_json: bool, *, table: bool = True) -> None:
    """The final table, unless there was another, the failures, and the status of the worst of them."""
    from imagefactory.cli import tables
    from imagefactory.cli.errors import show_error

    if as_json:
        print_json([tables.result(item) for item in results])
    elif table:
        tables.show_results(results)
    errors = [item.error for item in results if item.error]
    for error in errors:
        show_error(error)
    sys.exit(max((error.exit_status for error in errors), default=0))


def print_json(value: Any) -> None:
    """JSON for a program to read."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))
