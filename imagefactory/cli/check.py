"""Check many files, and gather what is wrong with any of them."""

from __future__ import annotations

from collections.abc import Sequence

from imagefactory.definitions.bases import base_names, load_base
from imagefactory.errors import BadFiles, Problem
from imagefactory.plan import select
from imagefactory.system.workspace import Workspace


def check_all(workspace: Workspace, names: Sequence[str]) -> tuple[list[Problem], int]:
    """All problems of the named recipes and bases (of all, for no name), and how many images and base
    images were read.
    """
    problems: list[Problem] = []
    bases = base_names(workspace)
    images: tuple[object, ...] = ()
    try:
        selection = select(workspace, names)
        images, bases = selection.images, list(selection.bases) if names else bases
    except BadFiles as error:
        problems += error.problems
    for name in bases:
        try:
            load_base(workspace, name)
        except BadFiles as error:
            problems += error.problems
    return sorted(problems), len(images) + len(bases)
