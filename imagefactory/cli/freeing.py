"""The commands that free disk: remove, clean."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from imagefactory.cli import words
from imagefactory.cli.naming import readable_images, selected
from imagefactory.cli.runs import ask_person, fail, print_json, unwatched
from imagefactory.errors import BadInput, FactoryError
from imagefactory.system.workspace import find_workspace

if TYPE_CHECKING:
    from imagefactory.drive.freeing import Item
    from imagefactory.drive.session import Session

_yes = click.option("-y", "--yes", is_flag=True, help="Do not ask.")


@click.command(short_help="Free what was made of images.")
@words.some_names
@_yes
@words.as_json
@click.pass_obj
def remove(root: Path, names: tuple[str, ...], yes: bool, as_json: bool) -> None:
    """Remove all that was made of images or base images: in engines, and in build/. Recipes, locks and the
    store stay, so that a build makes it again.

    What it would free is shown before it asks.
    """
    from imagefactory.drive.freeing import made_of

    workspace = find_workspace(root)
    selection = selected(workspace, names)
    session = unwatched(workspace)
    items = made_of(session, [*(image.id for image in selection.images), *selection.bases])
    _free(session, items, yes, as_json)


@click.command(short_help="Free what nobody needs any more.")
@_yes
@words.as_json
@click.pass_obj
def clean(root: Path, yes: bool, as_json: bool) -> None:
    """Remove candidates that failed their tests, what newer builds replaced and was kept, what killed builds
    left, and all that was made of images that no recipe makes any more.

    What it would free is shown before it asks. For inputs there is imagefactory store prune; the engine's
    build cache, which makes the next builds fast, goes with docker builder prune.
    """
    from imagefactory.definitions.bases import base_names
    from imagefactory.drive.freeing import rubbish
    from imagefactory.drive.sweep import sweep

    workspace = find_workspace(root)
    images, problems = readable_images(workspace, ())
    known = {*(image.id for image in images), *base_names(workspace)}
    if problems:
        click.echo("some recipes can't be read, so what was made of them stays: imagefactory check", err=True)
    session = unwatched(workspace)
    sweep(session)
    _free(session, rubbish(session, None if problems else known), yes, as_json)


def _free(session: Session, items: Sequence[Item], yes: bool, as_json: bool) -> None:
    from imagefactory.cli.show_freeing import show_items
    from imagefactory.cli.text import size
    from imagefactory.drive.freeing import free

    total = size(sum(item.bytes for item in items))
    if not as_json:
        show_items(items)
    if items and not yes:
        ask = ask_person()
        if as_json and ask is None:  # what it would free, for a program to decide on
            print_json(list(map(_values, items)))
        if ask is None:
            raise BadInput(f"nothing was removed: it would free {total}", hint="say so with --yes")
        if not ask(f"Free {total}?"):
            raise BadInput("nothing was removed")
    errors: list[FactoryError] = []
    done: list[Item] = []
    for item in items:
        try:
            free(session, item)
            done.append(item)
        except FactoryError as error:  # such as an image that a container runs
            errors.append(error)
    if as_json:
        print_json(list(map(_values, done)))
    elif done:
        click.echo(f"freed {size(sum(item.bytes for item in done))}")
    fail(errors)


def _values(item: Item) -> dict[str, object]:
    return {"id": item.name, "what": item.what, "why": item.why, "bytes": item.bytes}


ALL = (remove, clean)
