"""Where a recipe's file asks for what cannot be had."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from imagefactory.definitions.recipes import load_images, requests_of
from imagefactory.drive import locking
from imagefactory.errors import Unsolvable
from imagefactory.model.spec import ImageDefinition
from imagefactory.system.workspace import Workspace
from tests.unit.samples import RECIPE

TEXT = RECIPE.replace(
    "commands:",
    """\
  pip:
    packages: ["Photutils==2.3.0", numpy]
    constraints: ["scipy<2"]
  conda: {channels: [conda-forge], packages: ["fermitools==2.5.1"]}
build: {inputs: {apt: [gcc]}, keep: [/opt/app]}
commands:""",
    1,
)
VARIANTS = """\
variants:
  new: {}
  old:
    inputs:
      apt: [bc]
      pip:
        packages: ["photutils==2.2.0"]
"""
OLD = "in the variant old"


@pytest.fixture
def root(workspace: Callable[..., Workspace]) -> Workspace:
    return workspace(TEXT + VARIANTS)


@pytest.fixture
def images(root: Workspace) -> Mapping[str, ImageDefinition]:
    return {image.id: image for image in load_images(root, ["app"])}


@pytest.mark.parametrize(
    ("id", "kind", "lines"),
    [
        ("app-old", "pip", [f"27:20 asks for photutils==2.2.0, {OLD}", "12:36 asks for numpy"]),
        ("app-new", "pip", ["12:16 asks for Photutils==2.3.0", "12:36 asks for numpy"]),
        ("app-old", "apt", ["10:9 asks for hello", f"25:13 asks for bc, {OLD}", "15:24 asks for gcc"]),
        ("app-new", "conda", ["14:47 asks for fermitools==2.5.1"]),
        ("app-new", "sources", []),
    ],
)
def test_the_lines_that_ask_for_packages(
    root: Workspace, images: Mapping[str, ImageDefinition], id: str, kind: str, lines: list[str]
) -> None:
    if kind == "pip":
        lines = [*lines, "13:19 asks for scipy<2"]
    found = requests_of(root, images[id], kind)
    assert [str(each) for each in found] == [f"recipes/app/recipe.yaml:{line}" for line in lines]


@pytest.mark.parametrize(
    ("said", "lines"),
    [
        ("you require photutils==2.2.0 and SciPy<1.15", ["27:20", "13:19"]),
        ("numpy-financial is unknown", ["27:20", "12:36", "13:19"]),  # names none of them: all
    ],
)
def test_a_hint_names_the_lines_of_what_a_resolver_speaks_of(
    root: Workspace, images: Mapping[str, ImageDefinition], said: str, lines: list[str]
) -> None:
    class Resolver:
        name = "pip"

        def lock(self, wanted: Any, means: Any) -> Any:
            raise Unsolvable("they cannot be had together", hint="loosen them", tail=[said])

    wanted: Any = SimpleNamespace(image=images["app-old"])
    session: Any = SimpleNamespace(workspace=root)
    with pytest.raises(Unsolvable) as caught:
        locking.lock_kind(session, Resolver(), wanted, None)  # type: ignore[arg-type]
    first, *rest = caught.value.hint.splitlines()
    assert first == "loosen them"
    assert [line.partition(" ")[0] for line in rest] == [f"recipes/app/recipe.yaml:{at}" for at in lines]
