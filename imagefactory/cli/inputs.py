"""The commands about inputs: lock, fetch, store."""

from __future__ import annotations

import dataclasses
import sys
import time
from pathlib import Path

import click

from imagefactory.cli import words
from imagefactory.cli.naming import selected
from imagefactory.cli.runs import ask_person, conclude, print_json, unwatched, watched
from imagefactory.errors import BadInput
from imagefactory.system.workspace import find_workspace

DAY = 86400


@click.command(short_help="Pin every input of every image, by its sha256.")
@words.names
@click.option("--upgrade", is_flag=True, help="Take what upstreams have today, instead of what fits still.")
@click.option("--check", is_flag=True, help="Only say what is not locked; status 1 if anything is not.")
@words.loudness
@words.as_json
@click.pass_obj
def lock(
    root: Path, names: tuple[str, ...], upgrade: bool, check: bool, loudness: str, as_json: bool
) -> None:
    """Resolve inputs to exact files and write lock.yaml beside each recipe; commit it.

    What is locked for what is asked for stays as it is, to the byte. NAME may be a base image, whose
    packages are locked in base_images/NAME.lock.yaml; without a NAME, all are meant.
    """
    from imagefactory.cli.show_inputs import show_locks, show_unlocked
    from imagefactory.definitions.bases import base_names
    from imagefactory.drive.preparing import lock_images, unlocked

    workspace = find_workspace(root)
    if check and upgrade:
        raise BadInput("--check changes nothing, so it cannot go with --upgrade")
    selection = selected(workspace, names)
    if not names:
        selection = dataclasses.replace(selection, bases=tuple(base_names(workspace)))
    if check:
        open_ = unlocked(unwatched(workspace).resolver, selection)
        if as_json:
            print_json([{"id": name, "reason": reason} for name, reason in open_])
        else:
            show_unlocked(open_)
        sys.exit(1 if open_ else 0)
    with watched(workspace, loudness) as session:
        results = lock_images(session, selection, upgrade=upgrade)
    if not (as_json or loudness == words.QUIET):
        show_locks(results)
    conclude(results, as_json, table=False)


@click.command(short_help="Fetch every locked input into the store.")
@words.names
@words.full_data
@words.accept_licence
@words.loudness
@words.as_json
@click.pass_obj
def fetch(
    root: Path,
    names: tuple[str, ...],
    full: bool,
    accept_licence: tuple[str, ...],
    loudness: str,
    as_json: bool,
) -> None:
    """Fetch what the store lacks, check each file against its sha256, and keep it.

    A download that broke off is carried on. What is not locked is locked first.
    """
    from imagefactory.cli.show_inputs import show_fetched
    from imagefactory.drive.licences import require_acceptance
    from imagefactory.drive.preparing import fetch_images
    from imagefactory.system.site import load_site

    workspace = find_workspace(root)
    selection = selected(workspace, names)
    require_acceptance(selection.images, accept_licence, load_site(workspace), ask_person())
    with watched(workspace, loudness, full=full) as session:
        results = fetch_images(session, selection)
    if not (as_json or loudness == words.QUIET):
        show_fetched(results)
    conclude(results, as_json, table=False)


@click.group(short_help="List, verify or prune the store of inputs.")
def store() -> None:
    """The store keeps every fetched input, by its sha256; all checkouts of a user share it."""


@store.command("list")
@words.as_json
@click.pass_obj
def store_list(root: Path, as_json: bool) -> None:
    """List what the store holds, and what this checkout uses it for."""
    from imagefactory.cli import values
    from imagefactory.cli.show_inputs import show_stock
    from imagefactory.drive.stock import stock

    held = stock(find_workspace(root))
    if as_json:
        print_json(values.stock(held))
    else:
        show_stock(held)


@store.command("verify")
@click.pass_obj
def store_verify(root: Path) -> None:
    """Read every file again, and remove those that are damaged."""
    from imagefactory.drive.stock import verify_store
    from imagefactory.system.shared import owner

    count, damaged = verify_store(find_workspace(root))
    for stored in damaged:
        done = "and removed: the next fetch brings it again"
        if not stored.removable:
            done = f"and belongs to {owner(stored.user)}, who can remove it"
        click.echo(f"{stored.sha256}: damaged, {done}", err=True)
    click.echo(f"{count} files: {len(damaged) or 'none'} damaged")
    sys.exit(1 if damaged else 0)


@store.command("prune")
@click.option(
    "--unused-for",
    type=click.IntRange(min=0),
    default=30,
    show_default=True,
    metavar="DAYS",
    help="Remove what no build has used for so long, and no lock of this checkout names.",
)
@click.pass_obj
def store_prune(root: Path, unused_for: int) -> None:
    """Remove what is no longer needed."""
    from imagefactory.cli.text import size
    from imagefactory.drive.stock import prune_store

    removed = prune_store(find_workspace(root), time.time() - unused_for * DAY)
    files = f"{len(removed)} file{'s' if len(removed) != 1 else ''}"
    click.echo(f"removed {files}, {size(sum(stored.bytes for stored in removed))}")


ALL = (lock, fetch, store)
