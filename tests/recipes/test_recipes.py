"""Every recipe that we keep: it passes the check, and what is made of it passes the linters."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from imagefactory.backends.docker.render import render
from imagefactory.bases import load_base
from imagefactory.model.spec import ImageDefinition
from imagefactory.pipeline import make_spec
from imagefactory.pipeline.specs import unmade
from imagefactory.recipes import load_images, recipe_names
from imagefactory.records import write_files
from imagefactory.workspace import Workspace
from tests.conftest import REPOSITORY

BIN = Path(sys.executable).parent
HERE = Workspace(REPOSITORY)
RECIPES = recipe_names(HERE)


def clean(*argv: str | Path) -> None:
    """Run a linter. What it says is the test's failure."""
    done = subprocess.run(
        [str(word) for word in argv], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module", params=RECIPES)
def images(request: pytest.FixtureRequest) -> list[ImageDefinition]:
    """The images of one recipe. Reading them is the check."""
    return load_images(HERE, [request.param])


@pytest.fixture(scope="module")
def contexts(images: list[ImageDefinition], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The rendered folder of each of its images."""
    folder = tmp_path_factory.mktemp("contexts")
    bases = {name: load_base(HERE, name) for name in {image.base for image in images}}
    specs = [make_spec(HERE, image, bases[image.base], unmade(bases[image.base])) for image in images]
    return [write_files(folder / spec.image.id, render(spec).files) for spec in specs]


def test_there_are_recipes() -> None:
    assert RECIPES


def test_it_has_smoke_tests_that_look_at_the_outcome(images: list[ImageDefinition]) -> None:
    for image in images:
        assert image.commands, f"{image.id} names no command"
        assert image.tests
        assert any(test.output or test.measures or test.files for test in image.tests), image.id


def test_its_dockerfiles_are_clean(contexts: list[Path]) -> None:
    clean(BIN / "hadolint", *(context / "Dockerfile" for context in contexts))


def test_its_shell_scripts_are_clean(images: list[ImageDefinition], contexts: list[Path]) -> None:
    for context in contexts:
        # SC1091: the file that the entry point sources is there only in the image.
        made = (context / "environment.sh", context / "entrypoint.sh")
        clean(BIN / "shellcheck", "--exclude=SC1091", *made)
    scripts = (REPOSITORY / "recipes" / images[0].recipe).rglob("*.sh")
    clean(BIN / "shellcheck", "--external-sources", "--source-path=SCRIPTDIR", *scripts)
