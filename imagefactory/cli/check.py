"""Check many files, and gather what is wrong with any of them."""

from __future__ import annotations

from collections.abc import Sequence

from imagefactory.bases import base_names, load_base
from imagefactory.errors import BadFiles, Problem
from imagefactory.plan import select
from imagefactory.workspace import Workspace


def check_all(workspace: Workspace, names: Sequence[str]) -> tuple[list[Problem], int]:
    """All problems of the named recipes (of all recipes and bases for no name), and the number of
    images that are fine.
    """
    problems: list[Problem] = []
    for name in [] if names else base_names(workspace):
        try:
            load_base(workspace, name)
        except BadFiles as error:
            problems += error.problems
    try:
        count = len(select(workspace, names).images)
    except BadFiles as error:
        return sorted(problems + list(error.problems)), 0
    return problems, count
