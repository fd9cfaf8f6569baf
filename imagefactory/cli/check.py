"""Check many files, and gather what is wrong with any of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from imagefactory.cli.naming import readable_images, selected, stated_images
from imagefactory.cli.runs import unwatched
from imagefactory.definitions.bases import base_names, load_base
from imagefactory.definitions.recipes import check_parts
from imagefactory.errors import BadFiles, Problem
from imagefactory.model.spec import ImageDefinition
from imagefactory.plan import depends_on_lock
from imagefactory.system.workspace import Workspace

if TYPE_CHECKING:
    from imagefactory.drive.session import Session


def check_all(workspace: Workspace, names: tuple[str, ...]) -> tuple[list[Problem], int]:
    """All problems of the named recipes, their locks and bases (of all, for no name), and how many images and
    base images were read.
    """
    problems: list[Problem] = []
    bases = base_names(workspace)
    images: Sequence[ImageDefinition] = ()
    try:
        if names:
            selection = selected(workspace, names)
            images, bases = selection.images, list(selection.bases)
        else:
            images, wrong = readable_images(workspace, ())
            problems += [*wrong, *check_parts(workspace)]
    except BadFiles as error:
        problems += error.problems
    if of_locks := [image for image in images if depends_on_lock(image)]:
        problems += _against_locks(unwatched(workspace), of_locks)
    for name in bases:
        try:
            load_base(workspace, name)
        except BadFiles as error:
            problems += error.problems
    return sorted(set(problems)), len(images) + len(bases)


def _against_locks(session: Session, images: Iterable[ImageDefinition]) -> Iterator[Problem]:
    for image in images:
        try:
            yield from stated_images(session, [image])[1]
        except BadFiles as error:
            yield from error.problems
