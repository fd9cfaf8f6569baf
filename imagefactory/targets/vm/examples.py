"""Example data: what the recipe's tests read, put into the machine for people to begin with."""

from __future__ import annotations

from imagefactory.model.recipe import TestData
from imagefactory.model.spec import ImageSpec

_SHARE = "usr/share/imagefactory"


def examples_at(spec: ImageSpec) -> str:
    """The folder in the machine, without a slash before it. Pure."""
    return f"{_SHARE}/{spec.image.repository}"


def examples_of(spec: ImageSpec) -> dict[str, TestData]:
    """The files of the machine, by their paths; none where stand-ins take the place of the true software,
    and none of full tests, which may be large. Pure.
    """
    if spec.lock.stand_ins:
        return {}
    data = spec.image.data_of_tests(full=False)
    return {f"{examples_at(spec)}/{name}/{each.filename}": each for name, each in data.items()}
