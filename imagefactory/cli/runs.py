"""What commands that do something have in common: a session, watched or not, and an end with a status."""

from __future__ import annotations

import contextlib
import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from imagefactory.cli.words import QUIET

if TYPE_CHECKING:
    from imagefactory.drive.result import Result
    from imagefactory.drive.session import Session
    from imagefactory.errors import FactoryError
    from imagefactory.system.workspace import Workspace


def unwatched(workspace: Workspace) -> Session:
    """A run that only looks and writes files. It connects to engines when it first asks them."""
    from imagefactory.drive.session import Session
    from imagefactory.system.log import Silence
    from imagefactory.system.processes import Stop
    from imagefactory.system.site import load_site
    from imagefactory.targets.register import Kinds

    return Session(workspace, load_site(workspace), Kinds(workspace), Silence(), Stop())


@contextlib.contextmanager
def watched(
    workspace: Workspace, loudness: str, as_json: bool = False, *, plain: bool = False, full: bool = False
) -> Iterator[Session]:
    """A run that is watched on the screen, and that an interrupt ends; then what had finished is shown.

    ``plain``: by lines alone, for somebody else writes to the terminal too. ``full``: with the long tests.
    """
    from imagefactory.cli.progress import watch
    from imagefactory.drive.result import Stopped
    from imagefactory.drive.session import Session
    from imagefactory.system.site import load_site
    from imagefactory.targets.register import Kinds

    site = load_site(workspace)
    try:
        with watch(loudness, plain=plain) as (progress, stop):
            yield Session(workspace, site, Kinds(workspace), progress, stop, full)
    except Stopped as stopped:
        if stopped.finished:
            _show(list(stopped.finished), as_json, table=loudness != QUIET)
        raise


def ask_person() -> Callable[[str], bool] | None:
    """Puts a question to whoever sits at the terminal; None where nobody does."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return None
    return lambda question: click.confirm(question, err=True)


def conclude(results: list[Result], as_json: bool, *, table: bool = True) -> None:
    """The final table, unless there was another, the failures, and the status of the worst of them."""
    _show(results, as_json, table)
    fail([item.error for item in results if item.error])


def fail(errors: Sequence[FactoryError]) -> None:
    """Show failures and end with the status of the worst; end well where there are none."""
    from imagefactory.cli.errors import show_error

    for error in errors:
        show_error(error)
    sys.exit(max((error.exit_status for error in errors), default=0))


def _show(results: list[Result], as_json: bool, table: bool) -> None:
    from imagefactory.cli import show_targets, values

    if as_json:
        print_json([values.result(item) for item in results])
    elif table:
        show_targets.show_results(results)


def print_json(value: Any) -> None:
    """JSON for a program to read."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    # JSON lets letters stand as they are that a terminal would obey.
    click.echo(re.sub(r"[^\x00-\x7e]+", lambda found: _escaped(found[0]), text))


def _escaped(text: str) -> str:
    return text if text.isprintable() else json.dumps(text)[1:-1]
