"""Every recipe that we keep: it passes the check, and what is made of it passes the linters.

Each image twice, pinned by its lock and without one. Inputs that are not locked here, perhaps because they
cannot be, get a lock that is made up.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from imagefactory.definitions.bases import load_base
from imagefactory.definitions.recipes import load_images, recipe_names
from imagefactory.inputs.apt_lock import _ASK
from imagefactory.locks import base_lock_file, lock_file, read_locks
from imagefactory.model.spec import BaseDefinition, BaseSpec, File, ImageDefinition, ImageSpec, UnpinnedSpec
from imagefactory.system.files import write_files
from imagefactory.system.workspace import Workspace
from imagefactory.targets.oci.render import render_unpinned
from imagefactory.targets.sif.definition import render_definition
from tests.conftest import REPOSITORY
from tests.unit.samples import base_lock, everything, made_up_lock, rendered, spec

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
    """The rendered folders of each of its images, with a lock and without."""
    folder = tmp_path_factory.mktemp("contexts")
    bases = {name: load_base(HERE, name) for name in {image.base for image in images}}
    specs = [spec_of(image, bases[image.base]) for image in images]
    pinned = [write_files(folder / each.image.id, rendered(each)) for each in specs]
    requests = [UnpinnedSpec(each.image, each.base.base, each.source) for each in specs]
    return pinned + [write_files(folder / "unpinned" / each.image.id, unpinned(each)) for each in requests]


def unpinned(of: UnpinnedSpec) -> tuple[File, ...]:
    """All files of a build without a lock, and the script of each section of the definition file."""
    definition = render_definition(of, None)
    sections = re.findall(r"^%post\n((?:    .*\n|\n)+)", definition.data.decode(), re.MULTILINE)
    assert sections
    posts = [File(f"post-{n}.sh", 0o644, text.encode()) for n, text in enumerate(sections)]
    return (*render_unpinned(of), definition, *posts)


def spec_of(image: ImageDefinition, base: BaseDefinition) -> ImageSpec:
    """What the image is made of, with the lock that stands beside its recipe, or a made-up one."""
    name = base.base.name
    lock = read_locks(HERE, lock_file(HERE, image.recipe), base.platform).get(image.id)
    of_base = read_locks(HERE, base_lock_file(HERE, name), base.platform).get(name)
    return ImageSpec(image, BaseSpec(base, of_base or base_lock()), lock or made_up_lock(image), HERE.source)


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
        clean_scripts(context)
    scripts = (REPOSITORY / "recipes" / images[0].recipe).rglob("*.sh")
    clean(BIN / "shellcheck", "--external-sources", "--source-path=SCRIPTDIR", *scripts)


def test_all_that_can_be_generated_is_clean(tmp_path: Path) -> None:
    """Also where no recipe of today needs it: inputs of all kinds, a build stage, a GPU, folders at home."""
    whole = spec(image=everything())
    without = UnpinnedSpec(whole.image, whole.base.base, whole.source)
    for name, files in (("pinned", rendered(whole)), ("unpinned", unpinned(without))):
        context = write_files(tmp_path / name, files)
        made = {str(file.relative_to(context)) for file in context.rglob("*.sh")}
        assert made >= {
            "gpu.sh",
            *(f"steps/{name}.sh" for name in ("apt-image", "apt-build", "pip-image", "conda-image")),
        }
        clean(BIN / "hadolint", context / "Dockerfile")
        clean_scripts(context)


def test_the_question_to_apt_is_clean(tmp_path: Path) -> None:
    file = tmp_path / "ask.sh"
    file.write_text(_ASK.format(image=" hello", build=" gcc", tools=""))
    clean(BIN / "shellcheck", "--shell=sh", file)


def clean_scripts(context: Path) -> None:
    """Lint every script that we generate."""
    # SC1091: what they source is there only in the image.
    made = [file for file in sorted(context.rglob("*.sh")) if "recipe" not in file.parts]
    assert len(made) >= 2
    clean(BIN / "shellcheck", "--shell=sh", "--exclude=SC1091", *made)
