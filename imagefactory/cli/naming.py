"""The names on the command line to images."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import click

from imagefactory.errors import BadFiles, BadInput, Problem

if TYPE_CHECKING:
    from imagefactory.drive.session import Session
    from imagefactory.model.report import Report
    from imagefactory.model.spec import ImageDefinition
    from imagefactory.model.target import TargetId
    from imagefactory.plan import Selection
    from imagefactory.system.workspace import Workspace


_MOST = 24  # names in a line


def selected(workspace: Workspace, names: tuple[str, ...]) -> Selection:
    """What was named; says on standard error what a word stands for that is not the name of one thing."""
    from imagefactory.plan import select

    selection = select(workspace, names)
    for word, found in selection.several.items():
        more = f" and {len(found) - _MOST} more" if len(found) > _MOST else ""
        click.echo(f"{word} means {', '.join(found[:_MOST])}{more}", err=True)
    return selection


def named_images(workspace: Workspace, names: tuple[str, ...]) -> tuple[ImageDefinition, ...]:
    """The images that were named. A base image is none of them: it has no recipe."""
    selection = selected(workspace, names)
    if selection.bases:
        raise BadInput(
            f"{selection.bases[0]} is a base image, not one that a recipe makes",
            hint="only build, plan, show, check and remove take base images",
        )
    return selection.images


def readable_images(
    workspace: Workspace, names: tuple[str, ...]
) -> tuple[Sequence[ImageDefinition], Sequence[Problem]]:
    """The images that were named; for no name, all that can be read, and what is wrong with the rest."""
    from imagefactory.definitions.recipes import load_images, recipe_names

    try:
        return named_images(workspace, names), ()
    except BadFiles as error:
        if names:
            raise
        problems = error.problems
    images: list[ImageDefinition] = []
    for recipe in recipe_names(workspace):
        with contextlib.suppress(BadFiles):
            images += load_images(workspace, [recipe])
    return images, problems


def stated_images(
    session: Session, images: Iterable[ImageDefinition]
) -> tuple[Sequence[ImageDefinition], Sequence[Problem]]:
    """Images with the versions that their locks say, without those that their locks are against; and how."""
    good: list[ImageDefinition] = []
    problems: list[Problem] = []
    for image in images:
        wrong = session.resolver.problems(image)
        problems += wrong
        good += [] if wrong else [session.resolver.stated(image)]
        session.resolver.forget(image.id)  # thousands would not all fit into memory
    return good, problems


def last_reports(workspace: Workspace, ids: Iterable[TargetId]) -> dict[str, Report | None]:
    """By kind, the last reports of an image's targets."""
    from imagefactory.system.records import record_of

    return {id.kind: record_of(workspace, id).read() for id in ids}
