"""Every way in which we have seen, or fear to see, a recipe broken: one folder or test for each.

A folder below tests/broken/ holds a recipe and, in expected.txt, all that `imagefactory check` says.
It gets an install.sh unless that is what it is about.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from imagefactory.definitions.bases import load_base
from imagefactory.definitions.recipes import load_images
from imagefactory.errors import BadFiles
from imagefactory.system.workspace import Workspace
from tests.conftest import INSTALL, REPOSITORY
from tests.unit.samples import RECIPE, named

BROKEN = sorted(path.parent for path in (REPOSITORY / "tests" / "broken").glob("*/expected.txt"))

Check = Callable[..., tuple[int, str, str]]
Make = Callable[..., Workspace]


@pytest.mark.parametrize("defect", BROKEN, ids=lambda folder: folder.name)
def test_each_defect_is_reported_as_expected(defect: Path, workspace: Make, imagefactory: Check) -> None:
    expected = (defect / "expected.txt").read_text(encoding="utf-8")
    root = workspace(defect).root
    if "install.sh" not in expected:
        (root / "recipes" / "app" / "install.sh").write_text(INSTALL)

    status, out, err = imagefactory("--root", root, "check")

    assert err.splitlines() == expected.splitlines()
    assert (status, out) == (2, "")


def test_there_are_folders_to_test_and_each_says_what_is_expected() -> None:
    folders = [path for path in (REPOSITORY / "tests" / "broken").iterdir() if path.is_dir()]
    assert len(BROKEN) == len(folders) > 90


def test_all_defects_of_all_files_come_in_one_run(workspace: Make, imagefactory: Check) -> None:
    workspace(named(RECIPE, "one").replace("MIT", "M I T").replace("debian-12", "debian-21"), "one")
    workspace("{", "two")
    root = workspace(named(RECIPE, "three"), "three").root
    (root / "recipes" / "two" / "install.sh").unlink()
    (root / "base_images" / "new.yaml").write_text("name: new\n")

    status, _, err = imagefactory("--root", root, "check")

    assert status == 2
    assert [line.split(": ")[0] for line in err.splitlines()] == [
        "base_images/new.yaml:1:1",
        "recipes/one/recipe.yaml:5:10",
        "recipes/one/recipe.yaml:8:7",
        "recipes/two/install.sh",
        "recipes/two/recipe.yaml:2:1",
        "5 problems",
    ]


def test_a_clash_of_image_names_points_at_both(workspace: Make) -> None:
    workspace(RECIPE + "variants: {gpu-desktop: {}}\n")
    root = workspace(named(RECIPE, "app-gpu") + "variants: {desktop: {}}\n", "app-gpu")
    place = "recipes/app/recipe.yaml:16:12"
    assert _problems(root, "app", "app-gpu") == [
        f"recipes/app-gpu/recipe.yaml:16:12: the image app-gpu-desktop exists already: {place}"
    ]


@pytest.mark.parametrize(
    ("variants", "taken", "column"),
    [("gpu: {}", "app-gpu", 12), ("gpu: {}, default: {}", "app-default", 21)],
)
def test_no_image_has_the_name_of_a_recipe(workspace: Make, variants: str, taken: str, column: int) -> None:
    workspace(named(RECIPE, taken), taken)
    root = workspace(RECIPE + f"variants: {{{variants}}}\n")
    complaint = f"the image {taken} would have the name of a recipe, which means all images of that one"
    assert _problems(root, "app") == [f"recipes/app/recipe.yaml:16:{column}: {complaint}"]


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("bundles", "no image can be called bundles: build/bundles/ holds bundles"),
        ("debian-12", "the image debian-12 would have the name of a base image"),
    ],
)
def test_names_that_the_factory_needs_are_refused(workspace: Make, name: str, complaint: str) -> None:
    root = workspace(named(RECIPE, name), name)
    assert _problems(root, name) == [f"recipes/{name}/recipe.yaml:1:1: {complaint}"]


def test_a_huge_file_is_not_read(workspace: Make) -> None:
    root = workspace(RECIPE)
    with (root.recipes / "app" / "recipe.yaml").open("r+b") as file:
        file.truncate(1 << 40)  # a hole: it takes no space
    assert _problems(root) == ["recipes/app/recipe.yaml:1:1: the file is larger than 1 MiB"]


def test_many_values_are_refused_at_once(workspace: Make) -> None:
    root = workspace("apt: [" + "a, " * 200_000 + "]")
    assert _problems(root) == ["recipes/app/recipe.yaml:1:149992: more than 50000 values in one file"]


def test_many_defects_take_little_time(workspace: Make) -> None:
    start = time.monotonic()
    repeats = "commands: [" + "hello, " * 20_000 + "]\n"
    unknown = "".join(f"key-{number}: x\n" for number in range(5_000))
    root = workspace(RECIPE.replace("commands: [hello]\n", repeats) + unknown)
    assert len(_problems(root)) == 19_999 + 5_000
    assert time.monotonic() - start < 20


@pytest.mark.parametrize("number", ["0x" + "f" * 6000, "1" * 6000, "1:" * 100_000 + "1", "1e" + "9" * 5000])
def test_endless_numbers_are_no_numbers(workspace: Make, number: str) -> None:
    root = workspace(RECIPE.replace('"1.0"', number))
    (problem,) = _problems(root)
    assert problem.startswith("recipes/app/recipe.yaml:3:10: version: ")
    assert len(problem) < 200


def test_a_pipe_is_not_waited_for(workspace: Make) -> None:
    root = workspace(RECIPE)
    for name in ("recipe.yaml", "install.sh"):
        (root.recipes / "app" / name).unlink()
        os.mkfifo(root.recipes / "app" / name)
    assert _problems(root) == [
        "recipes/app/install.sh: is not a regular file",
        "recipes/app/recipe.yaml: is not a regular file",
    ]


@pytest.mark.parametrize("nothing", ["", " \n\t\n"])
def test_an_empty_script_is_refused(workspace: Make, nothing: str) -> None:
    root = workspace(RECIPE)
    (root.recipes / "app" / "install.sh").write_text(nothing)
    assert _problems(root) == ["recipes/app/install.sh: is empty: write what installs the application"]


def test_windows_line_endings_in_a_script_are_refused(workspace: Make) -> None:
    root = workspace(RECIPE)
    (root.recipes / "app" / "install.sh").write_bytes(b"#!/bin/sh\nset -eu\r\ntrue\r\n")
    assert _problems(root) == [
        "recipes/app/install.sh:2:8: Windows line endings: shells need plain ones, such as dos2unix makes"
    ]


def test_files_beside_the_recipe_are_plain_and_small(workspace: Make) -> None:
    root = workspace(RECIPE)
    tests = root.recipes / "app" / "tests"
    tests.mkdir()
    (tests / "link").symlink_to("/etc/passwd")
    (tests / "folder").symlink_to("/etc")
    (tests / "two\nlines").write_text("x")
    (tests / os.fsdecode(b"caf\xe9")).write_text("x")
    (tests / "backup~").write_text("x")
    with (tests / "large").open("wb") as file:
        file.truncate((16 << 20) + 1)
    (root.recipes / "app" / "files").write_text("x")
    assert _problems(root) == [
        "recipes/app/files: must be a folder, not a link or a file",
        "recipes/app/tests: cannot take a file called 'caf\\udce9': rename it",
        "recipes/app/tests: cannot take a file called 'two\\nlines': rename it",
        "recipes/app/tests/folder: is a symbolic link: put the file itself there",
        "recipes/app/tests/large: is larger than 16 MiB: declare it as a source instead",
        "recipes/app/tests/link: is a symbolic link: put the file itself there",
    ]


@pytest.mark.parametrize(
    "harmless",
    [
        "\ufeff" + RECIPE,  # a byte order mark, as some Windows editors write
        RECIPE.replace("\n", "\r\n"),
        "%YAML 1.1\n---\n" + RECIPE + "...\n",
        RECIPE.replace("An application", "Lichtkurve für Ångström – 光度曲線 🔭"),
        RECIPE.replace("[hello, --version]", "[ls, /tests/, /tests/data, /tests/data/a.fits]"),
    ],
)
def test_what_is_merely_unusual_is_taken(workspace: Make, harmless: str) -> None:
    root = workspace(harmless)
    (root.recipes / "app" / "tests" / "data").mkdir(parents=True)
    (root.recipes / "app" / "tests" / "data" / "a.fits").write_text("x")
    assert [image.id for image in load_images(root, ["app"])] == ["app"]


def test_a_base_image_has_its_own_errors(workspace: Make, imagefactory: Check) -> None:
    root = workspace(RECIPE).root
    text = (root / "base_images" / "debian-12.yaml").read_text()
    bad = text.replace("debian-12", "debian-13").replace("suite: bookworm", "suite: Book worm")
    (root / "base_images" / "debian-12.yaml").write_text(bad.replace("n: debian\n", "n: gentoo\n"))
    release = "the name of a release, such as bookworm"
    _, _, err = imagefactory("--root", root, "check")
    assert err.splitlines() == [
        "base_images/debian-12.yaml:4:15: distribution: expected 'debian' or 'ubuntu', found 'gentoo'",
        f"base_images/debian-12.yaml:5:8: suite: expected {release}, found 'Book worm'",
        "2 problems",
    ]
    (root / "base_images" / "debian-12.yaml").write_text(text.replace("name: debian-12", "name: other"))
    _, _, err = imagefactory("--root", root, "check")
    assert err.splitlines() == [
        "base_images/debian-12.yaml:2:7: the name is 'other', but the file is 'debian-12.yaml'",
        "1 problem",
    ]


DIGEST = f"sha256:{'0' * 64}"
FROM = f"from: ghcr.io/lab/base@{DIGEST}\n"


def _base(root: Workspace, rest: str) -> str:
    """What is wrong with a base image's file, or nothing."""
    (root.bases / "new.yaml").write_text(f"name: new\ntitle: A new one\n{rest}")
    try:
        load_base(root, "new")
    except BadFiles as error:
        (problem,) = error.problems
        return str(problem)
    return ""


@pytest.mark.parametrize(
    ("rest", "said"),
    [
        ("suite: noble\n", "it lacks 'distribution' and 'published', or 'from' with an image of a registry"),
        ("", "it lacks 'distribution', 'suite' and 'published', or 'from' with an image of a registry"),
        (f"{FROM}suite: noble\n", "'from' takes an image as it is: leave out 'suite'"),
        (f"{FROM}packages: [gcc]\n", "'from' takes an image as it is: leave out 'packages'"),
        (f"{FROM}published: debian:12-slim\n", "'from' takes an image as it is: leave out 'published'"),
    ],
)
def test_a_base_image_is_made_in_one_of_two_ways(workspace: Make, rest: str, said: str) -> None:
    assert _base(workspace(RECIPE), rest) == f"base_images/new.yaml:1:1: the file: {said}"


@pytest.mark.parametrize(
    "image",
    [
        "debian:12-slim",
        f"lab/base@{DIGEST}",
        "ghcr.io/lab/base:1.0",
        f"ghcr.io/lab/Base@{DIGEST}",
        f"https://ghcr.io/lab/base@{DIGEST}",
        f"me:secret@ghcr.io/lab/base@{DIGEST}",
        f"ghcr.io/lab/../base@{DIGEST}",
    ],
)
def test_an_upstream_image_is_named_with_its_registry_and_digest(workspace: Make, image: str) -> None:
    expected = "from: expected an image with its registry and digest, such as"
    assert _base(workspace(RECIPE), f"from: {image}\n").startswith(f"base_images/new.yaml:3:7: {expected}")


@pytest.mark.parametrize(
    "image", ["docker.io/debian", "ghcr.io/lab/base_x/a:1.0-rc1", "localhost/x", "127.0.0.1:5000/a/b/c"]
)
def test_names_of_upstream_images(workspace: Make, image: str) -> None:
    assert _base(workspace(RECIPE), f"from: {image}@{DIGEST}\n") == ""


def _problems(root: Workspace, *names: str) -> list[str]:
    with pytest.raises(BadFiles) as caught:
        load_images(root, names or ["app"])
    return [str(problem) for problem in caught.value.problems]
