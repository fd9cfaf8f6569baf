"""The version of an image: typed, or what its lock says, and held against that."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import pytest

from imagefactory.definitions.bases import host_platform, load_base
from imagefactory.definitions.recipes import load_images
from imagefactory.errors import BadFiles
from imagefactory.locks import image_request, lock_file, write_locks
from imagefactory.model.spec import ImageDefinition
from imagefactory.plan import Resolver
from imagefactory.system.site import Site
from imagefactory.system.workspace import Workspace
from imagefactory.targets.register import Kinds
from tests.unit.samples import (
    RECIPE,
    apt_file,
    base_lock,
    conda_file,
    lock_all,
    made_up_lock,
    named,
    pip_file,
)

Make = Callable[..., Workspace]
Call = Callable[..., tuple[int, str, str]]

FROM = RECIPE.replace('"1.0"', "{from: apt:hello}")
PIP = FROM.replace("apt:hello", "pip:Photutils").replace(
    "commands:", '  pip: {packages: ["photutils[all]==2.3.0"]}\ncommands:', 1
)
CONDA = FROM.replace("apt:hello", "conda:fermitools").replace(
    "commands:", "  conda: {channels: [fermi], packages: [fermitools]}\ncommands:", 1
)
VERSIONS = """\
image: photutils
variants:
  new: {}
  old: {inputs: {pip: {packages: ["photutils==2.2.0"]}}}
"""


def lock(root: Workspace, recipe: str, *files: Any, **of: tuple[Any, ...]) -> None:
    """Lock all images of a recipe to files; ``of`` names others for an image by its variant."""
    lock_all(root)
    locks = {}
    for image in load_images(root, [recipe]):
        request = image_request(image, load_base(root, image.base), _base_lock(root), Site())
        made = made_up_lock(image, request)
        ours = of.get(image.variant, files)
        kinds = {
            kind: tuple(file for file in ours if type(file).__name__.lower().startswith(kind))
            for kind in ("apt", "pip", "conda")
        }
        locks[image.id] = made.model_copy(update={"image": made.image.model_copy(update=kinds)})
    write_locks(lock_file(root, recipe), locks, host_platform())


def _base_lock(root: Workspace) -> Any:
    return base_lock(request="0" * 64)


def resolver(root: Workspace) -> Resolver:
    return Resolver(root, Site(), Kinds(root))


def stated(root: Workspace, recipe: str = "app") -> dict[str, str]:
    """The versions of a recipe's images, as their specifications have them."""
    found = {image.id: resolver(root).image(image).spec for image in load_images(root, [recipe])}
    return {id: spec.image.version if spec else "" for id, spec in found.items()}


@pytest.mark.parametrize(
    ("text", "file", "version"),
    [
        (FROM, apt_file("hello", "1:2.22+dfsg-1+b2"), "2.22"),
        (PIP, pip_file("photutils", "2.3.0"), "2.3.0"),
        (PIP, pip_file("photutils", "1!2.3.0+cpu"), "2.3.0+cpu"),
        (CONDA, conda_file("fermitools", "2.5.1"), "2.5.1"),
    ],
)
def test_the_version_of_an_input_is_the_image_s(workspace: Make, text: str, file: Any, version: str) -> None:
    root = workspace(text)
    (image,) = load_images(root, ["app"])
    assert image.version == ""
    assert stated(root) == {"app": ""}
    lock(root, "app", file)
    assert stated(root) == {"app": version}


def test_what_the_base_image_has_has_a_version_too(workspace: Make) -> None:
    root = workspace(FROM.replace("hello", "dash"))
    lock(root, "app")
    assert stated(root) == {"app": "0.5.12"}


def test_where_no_lock_has_the_input_that_is_a_problem(workspace: Make, imagefactory: Call) -> None:
    root = workspace(FROM)
    lock(root, "app")
    status, _, err = imagefactory("--root", root.root, "check")
    assert status == 2
    assert err.splitlines()[0] == (
        "recipes/app/recipe.yaml:3:10: its lock has nothing called hello: name what brings it"
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            FROM.replace("apt:hello", "apt:helo"),
            "3:17: version.from: app has no 'helo' among its apt packages, did you mean 'hello'?",
        ),
        (
            FROM.replace("apt:hello", "pip:hello"),
            "3:17: version.from: app has no 'hello' among its pip packages",
        ),
        (
            FROM.replace("apt:hello", "hello"),
            "3:17: version.from: expected an input with its kind, such as apt:esorex, found 'hello'",
        ),
        (FROM.replace("from:", "form:"), "3:11: unknown key 'form', did you mean 'from'?"),
        (FROM.replace("{from: apt:hello}", "[1]"), "3:10: version: expected text, found a list"),
        (
            FROM.replace("{from: apt:hello}", "1.10"),
            '3:10: version: YAML reads 1.10 as the number 1.1: write "1.10"',
        ),
    ],
)
def test_where_a_version_cannot_come_from(workspace: Make, text: str, problem: str) -> None:
    root = workspace(text)
    with pytest.raises(BadFiles) as caught:
        load_images(root, ["app"])
    assert f"recipes/app/recipe.yaml:{problem}" in map(str, caught.value.problems)


@pytest.mark.parametrize(
    ("version", "file", "wrong"),
    [
        ("2.22", apt_file("hello", "2.22-1"), False),
        ("2.22-1", apt_file("hello", "2.22-1"), False),
        ("2.22+dfsg", apt_file("hello", "1:2.22+dfsg-1"), False),
        ("9.9", apt_file("hello", "2.22-1"), True),
        ("2.2", apt_file("hello", "2.22-1"), True),
        ("9.9", apt_file("hello-data", "2.22-1"), False),
        ("2.22.0", pip_file("hello", "2.22"), False),
        ("2.22", pip_file("hello", "2.22+cpu"), False),
        ("9.9", pip_file("hello", "2.22"), True),
    ],
)
def test_a_typed_version_is_held_against_the_input_of_the_recipe_s_name(
    workspace: Make, imagefactory: Call, version: str, file: Any, wrong: bool
) -> None:
    text = named(RECIPE, "hello").replace('"1.0"', f'"{version}"')
    if file.file.startswith("hello/"):
        text = text.replace("apt: [hello]", "pip: {packages: [hello]}")
    root = workspace(text, "hello")
    workspace(RECIPE)  # whose name is no input's
    lock(root, "hello", file)
    status, out, err = imagefactory("--root", root.root, "check")
    assert status == (2 if wrong else 0)
    if wrong:
        kind = "pip" if "pip" in text else "apt"
        assert err.splitlines()[0] == (
            f"recipes/hello/recipe.yaml:3:10: the version is '{version}', but hello is locked in version "
            f"{file.version}: write version: {{from: {kind}:hello}}"
        )
        status, out, err = imagefactory("--root", root.root, "plan", "hello")
        assert (status, out) == (2, "")
        # It does not hide the others.
        for command in ("list", "plan"):
            status, out, err = imagefactory("--root", root.root, command)
            assert status == 2
            assert "app" in out
            assert "recipes/hello/recipe.yaml:3:10" in err


def test_a_check_finds_what_is_against_locks_beside_broken_recipes(
    workspace: Make, imagefactory: Call
) -> None:
    root = workspace(named(RECIPE, "hello"), "hello")
    lock(root, "hello", apt_file("hello", "2.22-1"))
    workspace(RECIPE.replace("MIT", "M I T"))
    places = [line.partition(" ")[0] for line in imagefactory("--root", root.root, "check")[2].splitlines()]
    assert places == ["recipes/app/recipe.yaml:5:10:", "recipes/hello/recipe.yaml:3:10:", "2"]


def test_a_variant_s_own_version_is_the_one_that_is_wrong(workspace: Make, imagefactory: Call) -> None:
    root = workspace(named(FROM, "hello") + 'variants: {a: {}, b: {version: "9.9"}}\n', "hello")
    lock(root, "hello", apt_file("hello", "2.22-1"))
    err = imagefactory("--root", root.root, "check")[2]
    assert err.splitlines()[0].startswith("recipes/hello/recipe.yaml:16:32: the version is '9.9'")


def test_what_is_not_locked_has_no_version_yet(workspace: Make, imagefactory: Call) -> None:
    root = workspace(FROM)

    def call(*words: str) -> str:
        status, out, _ = imagefactory("--root", root.root, *words)
        assert status == 0
        return out

    assert "1 image" in call("check", "app")
    assert "(not locked)" in call("list")
    assert "An application (not locked)" in call("show", "app")
    assert json.loads(call("list", "--json"))[0]["version"] is None
    assert "app: build" in call("plan")
    lock(root, "app", apt_file("hello", "2.22-1"))
    assert "An application 2.22" in call("show", "app")
    assert json.loads(call("list", "--json"))[0]["version"] == "2.22"


def two(workspace: Make, text: str = PIP + VERSIONS, **of: tuple[Any, ...]) -> Workspace:
    """Two versions of one application, as images of one name."""
    root = workspace(text)
    usual = {"new": (pip_file("photutils", "2.10.0"),), "old": (pip_file("photutils", "2.9.1"),)}
    lock(root, "app", **{**usual, **of})
    return root


def spec_of(root: Workspace, id: str) -> Any:
    images: dict[str, ImageDefinition] = {image.id: image for image in load_images(root, ["app"])}
    return resolver(root).image(images[id]).spec


def test_versions_of_an_application_are_images_of_one_name(workspace: Make) -> None:
    root = two(workspace)
    new, old = spec_of(root, "app-new"), spec_of(root, "app-old")
    assert (new.image.repository, new.image.version, new.latest) == ("photutils", "2.10.0", True)
    assert (old.image.repository, old.image.version, old.latest) == ("photutils", "2.9.1", False)


def test_the_default_variant_is_what_the_name_means(workspace: Make) -> None:
    root = two(
        workspace,
        PIP + VERSIONS.replace("  old:", "  default:"),
        default=(pip_file("photutils", "2.9.1"),),
    )
    assert (spec_of(root, "app-new").latest, spec_of(root, "app").latest) == (False, True)


def test_a_version_that_is_not_known_yet_is_not_the_latest(workspace: Make) -> None:
    root = two(workspace)
    images = load_images(root, ["app"])
    locks = lock_file(root, "app")
    locks.write_text(locks.read_text().replace("{name: app-new,", "{name: app-newer,"))
    assert [bool(resolver(root).image(image).spec) for image in images] == [False, True]
    assert spec_of(root, "app-old").latest


def test_two_images_of_one_name_and_version_are_a_problem(workspace: Make, imagefactory: Call) -> None:
    root = two(workspace, old=(pip_file("photutils", "2.10.0"),))
    err = imagefactory("--root", root.root, "check")[2]
    complaint = "would both be called photutils:2.10.0"
    assert err.splitlines() == [
        f"recipes/app/recipe.yaml:3:10: the images app-new and app-old {complaint}",
        "1 problem",
    ]
    text = PIP.replace("{from: pip:Photutils}", '"1.0+a"') + VERSIONS.replace(
        "old: {", 'old: {version: "1.0~a", '
    )
    (root.recipes / "app" / "recipe.yaml").write_text(text)
    with pytest.raises(BadFiles) as caught:
        load_images(root, ["app"])
    assert [str(each) for each in caught.value.problems] == [
        "recipes/app/recipe.yaml:3:10: the images app-new and app-old would both be called photutils:1.0_a"
    ]


def test_a_name_belongs_to_one_recipe(workspace: Make) -> None:
    root = workspace(RECIPE + "image: shared\n")
    workspace(named(RECIPE, "other") + "image: shared\n", "other")
    workspace(named(RECIPE, "third") + "image: other\n", "third")
    with pytest.raises(BadFiles) as caught:
        load_images(root, ["app", "other"])
    assert [str(each) for each in caught.value.problems] == [
        "recipes/other/recipe.yaml:1:1: the image shared exists already: recipes/app/recipe.yaml:1:1"
    ]
    with pytest.raises(BadFiles, match="image: other is the name of another recipe, or of a base image"):
        load_images(root, ["third"])


def test_another_name_is_given_anew_and_one_s_own_is_no_ingredient(workspace: Make) -> None:
    from imagefactory.targets.oci.render import describe

    root = two(workspace)
    spec = spec_of(root, "app-new")
    same = dataclasses.replace(spec, image=dataclasses.replace(spec.image, repository="app-new"))
    assert describe(spec).ingredients["image"] == "photutils"
    assert "image" not in describe(same).ingredients


@pytest.mark.parametrize(
    ("text", "version"),
    [
        (PIP, "2.3.0"),
        (PIP.replace("[all]==2.3.0", " == 2.3.0"), "2.3.0"),
        (PIP.replace("==2.3.0", ">=2.3.0"), ""),
        (PIP.replace("==2.3.0", "==2.3.*"), ""),
        (CONDA, ""),
        (CONDA.replace("[fermitools]", "[fermitools==2.5.1]"), "2.5.1"),
        (CONDA.replace("[fermitools]", "[fermitools 2.5.*]"), ""),
        (FROM, ""),
    ],
)
def test_before_it_is_locked_a_version_is_what_the_recipe_pins(
    workspace: Make, text: str, version: str
) -> None:
    (image,) = load_images(root := workspace(text), ["app"])
    assert resolver(root).stated(image).version == version
    files = {file.path: file.data.decode() for file in resolver(root).render_unpinned(image)}
    label = f'org.opencontainers.image.version="{version}"'
    assert (label in files["Dockerfile"]) == bool(version)
