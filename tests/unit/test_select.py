"""The names on the command line, and what they mean."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from imagefactory.errors import BadFiles, BadInput
from imagefactory.plan import known_names, select
from imagefactory.system.workspace import Workspace, find_workspace
from tests.unit.samples import RECIPE, named

Make = Callable[..., Workspace]


@pytest.fixture
def root(workspace: Make) -> Workspace:
    workspace(named(RECIPE, "eso") + "variants: {uves: {}, muse: {}}\n", "eso")
    workspace(named(RECIPE, "eso-tools"), "eso-tools")
    workspace(named(RECIPE, "fsl") + "variants: {default: {}, core: {}}\n", "fsl")
    root = workspace(named(RECIPE, "hello"), "hello")
    (root.recipes / ".hidden").mkdir()
    (root.recipes / "README.md").write_text("not a recipe")
    return root


@pytest.mark.parametrize(
    ("names", "images", "bases"),
    [
        ([], "eso-muse eso-tools eso-uves fsl fsl-core hello", ""),
        (["hello"], "hello", ""),
        (["eso"], "eso-muse eso-uves", ""),
        (["eso-muse"], "eso-muse", ""),
        (["eso-tools"], "eso-tools", ""),
        (["eso-*"], "eso-muse eso-tools eso-uves", ""),
        (["*u*e*"], "eso-muse eso-uves", ""),
        (["eso-[mu]*"], "eso-muse eso-uves", ""),
        (["hell?"], "hello", ""),
        (["hello", "eso-muse", "hello"], "eso-muse hello", ""),
        (["fsl"], "fsl fsl-core", ""),
        (["fsl-default"], "fsl", ""),
        (["fsl-core"], "fsl-core", ""),
        (["fsl-*"], "fsl fsl-core", ""),
        (["fs?"], "fsl", ""),
        (["debian-12"], "", "debian-12"),
        (["debian-*", "hello"], "hello", "debian-12"),
    ],
)
def test_a_name_is_an_image_a_recipe_a_pattern_or_a_base(
    root: Workspace, names: list[str], images: str, bases: str
) -> None:
    selection = select(root, names)
    assert sorted(image.id for image in selection.images) == images.split()
    assert list(selection.bases) == bases.split()


@pytest.mark.parametrize(
    ("names", "several"),
    [
        (["hello", "eso-muse", "fsl-default", "debian-12"], {}),
        ([], {}),
        (["eso", "hello"], {"eso": ("eso-uves", "eso-muse")}),
        (["fsl"], {"fsl": ("fsl-default", "fsl-core")}),
        (["*l*", "hell?"], {"*l*": ("eso-tools", "fsl-default", "fsl-core", "hello"), "hell?": ("hello",)}),
        (["deb*"], {"deb*": ("debian-12",)}),
    ],
)
def test_what_a_word_stands_for_is_told(
    root: Workspace, names: list[str], several: dict[str, tuple[str, ...]]
) -> None:
    assert select(root, names).several == several


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("eso-mus", "did you mean eso-muse or "),
        ("helo", "did you mean hello"),
        ("debian-11", "did you mean debian-12?"),
        ("zzz", "imagefactory list shows what there is"),
        ("eso-x-*", "did you mean eso"),
        ("", "imagefactory list shows what there is"),
        ("../hello", "did you mean hello"),
    ],
)
def test_an_unknown_name_suggests_known_ones(root: Workspace, name: str, hint: str) -> None:
    with pytest.raises(BadInput) as caught:
        select(root, [name])
    assert caught.value.message == f"no image, recipe or base image is called '{name}'"
    assert caught.value.hint.startswith(hint)


def test_a_broken_recipe_stops_only_those_who_mean_it(root: Workspace) -> None:
    (root.recipes / "hello" / "recipe.yaml").write_text("[")
    assert [image.id for image in select(root, ["eso-muse"]).images] == ["eso-muse"]
    for names in ([], ["hello"], ["*"]):
        with pytest.raises(BadFiles):
            select(root, names)
    assert known_names(root) == [
        *("debian-12", "eso", "eso-muse", "eso-tools", "eso-uves"),
        *("fsl", "fsl-core", "fsl-default"),
    ]


def test_the_workspace_is_found_from_below(root: Workspace) -> None:
    assert find_workspace(root.recipes / "hello").root == root.root.resolve()
    with pytest.raises(BadInput, match="no recipes/ and base_images/"):
        find_workspace(root.root.parent)
