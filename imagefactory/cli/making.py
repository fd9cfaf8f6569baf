"""The commands that make and test: build, test, shell."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from imagefactory.cli import words
from imagefactory.cli.naming import named_images, selected
from imagefactory.cli.runs import ask_person, conclude, watched
from imagefactory.errors import BadInput, BuildFailed, TestsFailed
from imagefactory.system.workspace import find_workspace

if TYPE_CHECKING:
    from imagefactory.drive.result import Result
    from imagefactory.drive.session import Session
    from imagefactory.model.spec import ImageDefinition
    from imagefactory.plan import Selection


@click.command()
@words.some_names
@click.option(
    "--format",
    "kinds",
    type=words.Kinds(),
    default="containers",
    help="Make this kind of image, and what it is made of.",
    show_default=True,
)
@click.option("--no-cache", is_flag=True, help="Use nothing of earlier builds.")
@click.option("--locked", is_flag=True, help="Refuse what is not locked, instead of locking it.")
@words.full
@words.accept_licence
@click.option(
    "--debug-shell", is_flag=True, help="Open a shell in the step that breaks, or where a test fails."
)
@words.loudness
@words.as_json
@click.pass_obj
def build(
    root: Path,
    names: tuple[str, ...],
    kinds: list[str],
    no_cache: bool,
    locked: bool,
    full: bool,
    accept_licence: tuple[str, ...],
    debug_shell: bool,
    loudness: str,
    as_json: bool,
) -> None:
    """Build and test what is out of date, and say why. NAME may be a base image too.

    What is not locked is locked first, and what is not in the store is fetched; the build itself has no
    network. An image gets its name (imagefactory/NAME, build/NAME/NAME-VERSION-DIGEST.sif) only when all of
    its tests have passed.
    """
    from imagefactory.drive.licences import require_acceptance
    from imagefactory.drive.result import Options
    from imagefactory.drive.tasks import build_targets
    from imagefactory.system.site import load_site

    workspace = find_workspace(root)
    selection = selected(workspace, names)
    if debug_shell and (len(selection.images) != 1 or selection.bases):
        raise BadInput("--debug-shell takes exactly one image", hint=_which(selection))
    if debug_shell and not sys.stdin.isatty():
        raise BadInput("--debug-shell needs a terminal")
    require_acceptance(selection.images, accept_licence, load_site(workspace), ask_person())
    options = Options(cache=not no_cache, locked=locked)
    with watched(workspace, loudness, as_json, full=full) as session:
        results = build_targets(session, selection, options, kinds)
    if debug_shell:
        _debug(session, selection.images[0], results)
    conclude(results, as_json, table=loudness != words.QUIET)


@click.command()
@words.some_names
@words.full
@words.loudness
@words.as_json
@click.pass_obj
def test(root: Path, names: tuple[str, ...], full: bool, loudness: str, as_json: bool) -> None:
    """Run the tests of built images again, of every kind, without building."""
    from imagefactory.drive.tasks import test_images

    workspace = find_workspace(root)
    images = named_images(workspace, names)
    with watched(workspace, loudness, as_json, full=full) as session:
        results = test_images(session, images)
    conclude(results, as_json, table=loudness != words.QUIET)


@click.command(short_help="Open a shell in an image, as its tests see it.")
@words.name
@click.option(
    "--format",
    "kind",
    type=words.Kind(),
    help="In this kind of image.  [where a test failed, or the first that there is]",
)
@click.pass_obj
def shell(root: Path, name: str, kind: str | None) -> None:
    """Open a shell in an image that was built, or in the candidate that failed its tests: with the recipe's
    tests in /tests, an empty working folder, no network, and a user that the image does not know.

    The exit status is the shell's.
    """
    from imagefactory.drive.tasks import enter_target

    workspace = find_workspace(root)
    images = named_images(workspace, (name,))
    if len(images) != 1:
        raise BadInput(
            f"a shell is opened in one image, and {name} is {len(images)}",
            hint=f"name one of {', '.join(image.selector for image in images)}",
        )
    if not sys.stdin.isatty():
        raise BadInput("a shell needs a terminal")
    with watched(workspace, words.NORMAL, plain=True) as session:
        status = enter_target(session, images[0], kind)
    sys.exit(status)


def _which(selection: Selection) -> str:
    words = [image.selector for image in selection.images]
    return f"name one of {', '.join(words)}" if words else "a base image has no step to look into"


def _debug(session: Session, image: ImageDefinition, results: list[Result]) -> None:
    """Open a shell where the build of ``image`` broke or in what failed its tests, if it did."""
    from imagefactory.cli.errors import show_error
    from imagefactory.drive.tasks import debug_target, enter_target

    for item in results:
        if item.name == image.id and item.kind and isinstance(item.error, TestsFailed):
            show_error(item.error)
            enter_target(session, image, item.kind)
            return
        if item.name == image.id and item.kind and isinstance(item.error, BuildFailed) and item.error.step:
            show_error(item.error)
            click.echo("opening a shell in that step; 'exit' leaves it, once more leaves buildx", err=True)
            debug_target(session, item.id, [image])
            return


ALL = (build, test, shell)
