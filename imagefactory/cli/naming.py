"""The names on the command line to images."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from imagefactory.errors import BadFiles, BadInput, Problem

if TYPE_CHECKING:
    from imagefactory.model.report import Report
    from imagefactory.model.spec import ImageDefinition
    from imagefactory.model.target import TargetId
    from imagefactory.system.workspace import Workspace


def named_images(workspace: Workspace, names: tuple[str, ...]) -> tuple[ImageDefinition, ...]:
    """The images that were named. A base image is none of them: it has no recipe."""
    from imagefactory.plan import select

    selection = select(workspace, names)
    if selection.bases:
        raise BadInput(
            f"{selection.bases[0]} is a base image, not one that a recipe makes",
            hint="only build, plan, show and check take base images",
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


def last_reports(workspace: Workspace, ids: Iterable[TargetId]) -> dict[str, Report | None]:
    """By kind, the last reports of an image's targets."""
    from imagefactory.system.records import record_of

    return {id.kind: record_of(workspace, id).read() for id in ids}
